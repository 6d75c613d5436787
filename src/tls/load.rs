//! From PEM files to what a handshake needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use x509_parser::parse_x509_certificate;

use super::ALPN_HTTP_1_1;

/// Sessions of TLS 1.2 that are remembered for clients without tickets; each takes a few hundred bytes.
const SESSIONS_MAX: usize = 4_096;

/// Where certificates and keys are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The server's certificate, and behind it those that lead to its authority; PEM.
    pub certificate: PathBuf,
    /// The private key of the first certificate; PEM.
    pub key: PathBuf,
    /// Authorities of clients, each of which must then show a certificate; PEM.
    pub client_authorities: Option<PathBuf>,
}

/// What comes of files.
#[derive(Debug)]
pub struct Loaded {
    /// What a connection begins with.
    pub config: Arc<ServerConfig>,
    /// When the first certificate of the chain ends, in seconds since the Unix epoch.
    pub expires_at: i64,
}

/// Why files give no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read, or holds nothing of the kind, or something else than PEM.
    #[error("the file {} holds no {what} that can be used: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is of a kind that is not known, or belongs to another certificate.
    #[error("the key in {} does not fit the certificate in {}: {error}", key.display(), certificate.display())]
    Pair {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
        /// What is wrong with them.
        error: rustls::Error,
    },
    /// The system gave no random bits, or the library lacks a version of the protocol.
    #[error("TLS cannot be had: {0}")]
    Library(#[from] rustls::Error),
}

/// Reads the files. What comes of them offers TLS 1.2 and 1.3 and `http/1.1` alone, and resumes
/// sessions that began with it, on whatever thread.
///
/// # Errors
/// When a file cannot be used, or the key does not belong to the certificate.
pub fn load(files: &TlsFiles) -> Result<Loaded, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&files.certificate)?;
    let expires_at = expiry(&chain, &files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| wrong(&files.key, "private key", &reason(&error)))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match &files.client_authorities {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(verifier(path, provider)?),
    };
    let pair = builder.with_single_cert(chain, key);
    let mut config = pair.map_err(|error| TlsError::Pair {
        key: files.key.clone(),
        certificate: files.certificate.clone(),
        error,
    })?;
    config.alpn_protocols = vec![ALPN_HTTP_1_1.to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    config.ticketer = ring::Ticketer::new()?;
    Ok(Loaded {
        config: Arc::new(config),
        expires_at,
    })
}

/// When the first of them ends (RFC 5280 section 4.1.2.5). Those that are no certificates are refused.
fn expiry(chain: &[CertificateDer<'_>], path: &Path) -> Result<i64, TlsError> {
    let ends = chain.iter().map(|der| {
        let parsed = parse_x509_certificate(der);
        parsed.map(|(_, certificate)| certificate.validity().not_after.timestamp())
    });
    let ends: Result<Vec<i64>, _> = ends.collect();
    let ends = ends.map_err(|error| wrong(path, "certificate", &error.to_string()))?;
    // There is at least one.
    Ok(ends.into_iter().min().unwrap_or(i64::MAX))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let chain: Vec<_> = read.map_err(|error| wrong(path, "certificate", &reason(&error)))?;
    if chain.is_empty() {
        return Err(wrong(path, "certificate", "it has no section of that kind"));
    }
    Ok(chain)
}

fn verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| wrong(path, "certificate", &error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| wrong(path, "certificate", &error.to_string()))
}

fn wrong(path: &Path, what: &'static str, reason: &str) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        what,
        reason: reason.to_owned(),
    }
}

/// In words; never with bytes of the file, which may be a key.
fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "it has no section of that kind".to_owned(),
        _ => "it is not valid PEM".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use std::fs;

    fn written(directory: &Path) -> TlsFiles {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let files = TlsFiles {
            certificate: directory.join("server.pem"),
            key: directory.join("server.key"),
            client_authorities: None,
        };
        fs::write(&files.certificate, certificate.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn a_pair_is_taken_and_offers_http_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = written(directory.path());
        let Loaded { config, expires_at } = load(&files).unwrap();
        assert_eq!(config.alpn_protocols, [ALPN_HTTP_1_1.to_vec()]);
        assert!(config.ticketer.enabled());
        // The default of the library that made it: the first day of the year 4096.
        assert_eq!(expires_at, 67_090_118_400);
        files.client_authorities = Some(files.certificate.clone());
        load(&files).unwrap();
    }

    #[test]
    fn files_that_are_wrong_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let files = written(directory.path());
        let missing = directory.path().join("missing");
        let other = tempfile::tempdir().unwrap();
        let swapped = files.certificate.clone();
        for (changed, name) in [
            (
                TlsFiles {
                    certificate: missing.clone(),
                    ..files.clone()
                },
                "missing",
            ),
            (
                TlsFiles {
                    key: missing.clone(),
                    ..files.clone()
                },
                "missing",
            ),
            (
                TlsFiles {
                    client_authorities: Some(missing),
                    ..files.clone()
                },
                "missing",
            ),
            (
                TlsFiles {
                    key: swapped,
                    ..files.clone()
                },
                "holds no private key",
            ),
            (
                TlsFiles {
                    certificate: files.key.clone(),
                    ..files.clone()
                },
                "holds no certificate",
            ),
            (
                TlsFiles {
                    key: written(other.path()).key,
                    ..files
                },
                "does not fit",
            ),
        ] {
            let sentence = load(&changed).unwrap_err().to_string();
            assert!(sentence.contains(name), "{sentence}");
        }
    }
}
