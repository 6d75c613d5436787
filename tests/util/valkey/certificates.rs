//! An authority and a certificate of the server, made anew for each test.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// Writes `ca.pem`, `server.pem` and `server.key` into a folder.
pub(super) fn write(directory: &Path) {
    let key = || KeyPair::generate().expect("a key can be made");
    let mut authority = CertificateParams::new(Vec::new()).expect("no name is wrong");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, key()).expect("it can be signed");
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let server = CertificateParams::new(names).expect("the names are valid");
    let server_key = key();
    let certificate = server
        .signed_by(&server_key, &authority)
        .expect("it can be signed");
    for (name, text) in [
        ("ca.pem", authority.pem()),
        ("server.pem", certificate.pem()),
        ("server.key", server_key.serialize_pem()),
    ] {
        fs::write(directory.join(name), text).expect("a file can be written");
    }
}
