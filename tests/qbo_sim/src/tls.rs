//! A certificate authority of its own, and a certificate for this machine.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a server needs, and the file a client needs.
pub struct Identity {
    pub config: Arc<ServerConfig>,
    pub ca_file: PathBuf,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Makes a new authority and writes its certificate where every user of this machine can read it.
pub fn make() -> std::io::Result<Identity> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "QBO simulator CA");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().map_err(Error::other)?)
        .map_err(Error::other)?;
    let names = ["localhost", "127.0.0.1", "::1", "simulator"].map(str::to_owned);
    let leaf_key = KeyPair::generate().map_err(Error::other)?;
    let leaf = CertificateParams::new(names)
        .map_err(Error::other)?
        .signed_by(&leaf_key, &authority)
        .map_err(Error::other)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .map_err(Error::other)?;
    let name = format!("qbo_sim-{}-{}.pem", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let ca_file = std::env::temp_dir().join(name);
    std::fs::write(&ca_file, authority.pem())?;
    Ok(Identity { config: Arc::new(config), ca_file })
}
