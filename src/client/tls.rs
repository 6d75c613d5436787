//! What a client needs for TLS: whom to trust, and the certificate that it shows.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::failure::{Failure, FailureKind};
use super::remote::{Identity, Remote};

/// Reads the files that the options name. Offers TLS 1.2 and 1.3.
///
/// # Errors
/// When a file cannot be used, or nobody would be trusted.
pub(super) fn config(remote: &Remote) -> Result<Arc<ClientConfig>, Failure> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(FailureKind::Failed, error))?
        .with_root_certificates(roots(remote.authorities.as_deref())?);
    showing(remote.identity.as_ref(), builder)
}

/// For a connection of a program to the server beside it: takes whatever certificate it shows, which nobody
/// in between can have changed, and remembers it. Nothing secret may be sent.
///
/// # Errors
/// When a file cannot be used.
pub(super) fn beside(
    identity: Option<&Identity>,
) -> Result<(Arc<ClientConfig>, Arc<Shown>), Failure> {
    let provider = Arc::new(ring::default_provider());
    let shown = Arc::new(Shown {
        provider: Arc::clone(&provider),
        certificate: OnceLock::new(),
    });
    let verifier: Arc<dyn ServerCertVerifier> = Arc::clone(&shown) as _;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(FailureKind::Failed, error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok((showing(identity, builder)?, shown))
}

/// The rest of it: the certificate to show, if there is one.
fn showing(
    identity: Option<&Identity>,
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
) -> Result<Arc<ClientConfig>, Failure> {
    let Some(identity) = identity else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let (chain, key) = pair(identity)?;
    let config = builder.with_client_auth_cert(chain, key);
    let config = config.map_err(|error| {
        let certificate = identity.certificate.display();
        usage(format!(
            "the key does not fit the certificate in {certificate}: {error}"
        ))
    })?;
    Ok(Arc::new(config))
}

/// The certificate that a server has shown, and proved to have the key of.
#[derive(Debug)]
pub(super) struct Shown {
    provider: Arc<CryptoProvider>,
    certificate: OnceLock<CertificateDer<'static>>,
}

impl Shown {
    pub(super) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.certificate.get()
    }
}

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.certificate
            .get_or_init(|| certificate.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

fn roots(authorities: Option<&Path>) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => {
            for certificate in certificates(path)? {
                let added = roots.add(certificate);
                added.map_err(|error| usage(format!("the file {}: {error}", path.display())))?;
            }
        }
        None => {
            // One that is broken is nobody's business here, as long as there are others.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(usage(
                    "this system has no list of authorities; name those to trust by --ca-file",
                ));
            }
        }
    }
    Ok(roots)
}

fn pair(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Failure> {
    let chain = certificates(&identity.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&identity.key)
        .map_err(|error| wrong(&identity.key, "private key", &error))?;
    Ok((chain, key))
}

/// All certificates of a PEM file: one at least.
///
/// # Errors
/// When it cannot be read, or holds none.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let read = read.and_then(|chain: Vec<_>| match chain.is_empty() {
        true => Err(pem::Error::NoItemsFound),
        false => Ok(chain),
    });
    read.map_err(|error| wrong(path, "certificate", &error))
}

/// In words; never with bytes of the file, which may be a key.
fn wrong(path: &Path, what: &str, error: &pem::Error) -> Failure {
    let reason = match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "it has no section of that kind".to_owned(),
        _ => "it is not valid PEM".to_owned(),
    };
    let path = path.display();
    usage(format!(
        "the file {path} holds no {what} that can be used: {reason}"
    ))
}

fn usage(sentence: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Usage, sentence)
}
