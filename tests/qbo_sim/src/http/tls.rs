//! A certificate authority of its own, and certificates for this machine: a good one, and bad ones for tests.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
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
    /// A good one too, signed by an intermediate that is sent along.
    Intermediate,
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
    /// For clients, not for servers.
    ForClients,
    /// Its host stands in the common name only.
    CommonName,
    /// With a critical extension that nobody knows.
    Unknown,
    /// Signed by an intermediate that is not sent along.
    NoIntermediate,
    /// Signed by an intermediate that ran out.
    ExpiredIntermediate,
    /// Signed by a good certificate of a server, which is no authority.
    NoAuthority,
}

impl Certificate {
    /// All but the good ones.
    pub const BAD: [Certificate; 12] = [
        Certificate::Expired,
        Certificate::NotYetValid,
        Certificate::OtherHost,
        Certificate::SelfSigned,
        Certificate::Stranger,
        Certificate::ClientWanted,
        Certificate::ForClients,
        Certificate::CommonName,
        Certificate::Unknown,
        Certificate::NoIntermediate,
        Certificate::ExpiredIntermediate,
        Certificate::NoAuthority,
    ];
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
        let params = params(kind)?;
        let (leaf, intermediate) = match kind {
            Certificate::SelfSigned => (params.self_signed(&key), None),
            Certificate::Stranger => (params.signed_by(&key, &*self::authority("A stranger")?), None),
            Certificate::Intermediate
            | Certificate::NoIntermediate
            | Certificate::ExpiredIntermediate
            | Certificate::NoAuthority => {
                let between = intermediate(kind, &authority)?;
                (params.signed_by(&key, &between), Some(between.der().clone()))
            }
            _ => (params.signed_by(&key, &authority), None),
        };
        let leaf = leaf.map_err(Error::other)?.der().clone();
        let sent = intermediate.filter(|_| kind != Certificate::NoIntermediate);
        let chain = std::iter::once(leaf).chain(sent).collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = config(kind, &authority, chain, key)?;
        let name = format!("qbo_sim-{}-{}.pem", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let ca_file = std::env::temp_dir().join(name);
        std::fs::write(&ca_file, authority.pem())?;
        Ok(Identity { config: Arc::new(config), ca_file, stall })
    }
}

fn authority(name: &str) -> Result<Authority> {
    let key = KeyPair::generate().map_err(Error::other)?;
    CertifiedIssuer::self_signed(of_authority(name), key).map_err(Error::other)
}

fn of_authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn intermediate(kind: Certificate, authority: &Authority) -> Result<Authority> {
    let params = match kind {
        Certificate::NoAuthority => {
            let mut params = params(kind)?;
            params.distinguished_name.push(DnType::CommonName, "a server");
            params
        }
        _ => {
            let mut params = of_authority("QBO simulator intermediate");
            if kind == Certificate::ExpiredIntermediate {
                (params.not_before, params.not_after) =
                    (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
            }
            params
        }
    };
    let key = KeyPair::generate().map_err(Error::other)?;
    CertifiedIssuer::signed_by(params, key, authority).map_err(Error::other)
}

fn params(kind: Certificate) -> Result<CertificateParams> {
    let names = match kind {
        Certificate::OtherHost => vec!["elsewhere.example.com".to_owned()],
        Certificate::CommonName => Vec::new(),
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
        Certificate::ForClients => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        Certificate::CommonName => params.distinguished_name.push(DnType::CommonName, "127.0.0.1"),
        Certificate::Unknown => {
            // An empty sequence, under a number of nobody's.
            let mut extension =
                CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![0x30, 0]);
            extension.set_criticality(true);
            params.custom_extensions.push(extension);
        }
        _ => {}
    }
    Ok(params)
}

fn config(
    kind: Certificate,
    authority: &Authority,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?;
    let builder = if kind == Certificate::ClientWanted {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.der().clone()).map_err(Error::other)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        builder.with_client_cert_verifier(verifier.build().map_err(Error::other)?)
    } else {
        builder.with_no_client_auth()
    };
    // Without a look at what is in the chain.
    let key = provider.key_provider.load_private_key(key).map_err(Error::other)?;
    Ok(builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))))
}
