//! A certificate authority of its own, and certificates for this machine: a good one, and bad ones for tests.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use std::io::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Which certificate the server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Certificate {
    #[default]
    Good,
    Expired,
    NotYetValid,
    /// For another host.
    OtherHost,
    /// Signed by itself.
    SelfSigned,
    /// Signed by an authority that is not the one in the CA file.
    Stranger,
    /// A good one; but the client has to show one too.
    ClientWanted,
}

/// What a server needs, and the file a client needs.
pub struct Identity {
    pub config: Arc<ServerConfig>,
    pub ca_file: PathBuf,
    /// The handshake waits so long.
    pub stall: Duration,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Identity {
    /// Makes a new authority and writes its certificate where every user of this machine can read it.
    pub fn new(kind: Certificate, stall: Duration) -> Result<Identity> {
        let authority = authority("QBO simulator CA")?;
        let key = KeyPair::generate().map_err(Error::other)?;
        let leaf = match kind {
            Certificate::SelfSigned => params(kind)?.self_signed(&key).map_err(Error::other)?,
            Certificate::Stranger => {
                params(kind)?.signed_by(&key, &*self::authority("A stranger")?).map_err(Error::other)?
            }
            _ => params(kind)?.signed_by(&key, &authority).map_err(Error::other)?,
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = config(kind, &authority, leaf.der().clone(), key)?;
        let name = format!("qbo_sim-{}-{}.pem", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let ca_file = std::env::temp_dir().join(name);
        std::fs::write(&ca_file, authority.pem())?;
        Ok(Identity { config: Arc::new(config), ca_file, stall })
    }
}

fn authority(name: &str) -> Result<Authority> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(Error::other)?).map_err(Error::other)
}

fn params(kind: Certificate) -> Result<CertificateParams> {
    let names = match kind {
        Certificate::OtherHost => vec!["elsewhere.example.com".to_owned()],
        _ => ["localhost", "127.0.0.1", "::1", "simulator"].map(str::to_owned).to_vec(),
    };
    let mut params = CertificateParams::new(names).map_err(Error::other)?;
    match kind {
        Certificate::Expired => {
            (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
        }
        Certificate::NotYetValid => {
            (params.not_before, params.not_after) = (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1));
        }
        _ => {}
    }
    Ok(params)
}

fn config(
    kind: Certificate,
    authority: &Authority,
    leaf: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?;
    let builder = if kind == Certificate::ClientWanted {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.der().clone()).map_err(Error::other)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().map_err(Error::other)?)
    } else {
        builder.with_no_client_auth()
    };
    builder.with_single_cert(vec![leaf], key).map_err(Error::other)
}
