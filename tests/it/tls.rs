//! Nodes over TLS: with a URL, which trusts the public roots, and with a client that trusts a custom root.

use std::{sync::Arc, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use redlock_core::{
    LockNode, NodeErrorKind, Redlock, Release, Resource,
    backend::{InspectRequest, NodeUrl},
};
use redlock_fred::fred::types::config::{Config, TlsConnector};
use redlock_redis_rs::redis;
use redlock_tests::{
    lab::eventually,
    servers::{Server, ServerOptions, Servers},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

const TTL: Duration = Duration::from_secs(30);

/// Starts a server with a certificate of an unknown authority. Returns it and the authority's certificate.
async fn server() -> (Server, String) {
    let (authority_key, server_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap().pem();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&server_key, &Issuer::from_params(&authority, &authority_key)).unwrap();

    let options = ServerOptions::new()
        .file("root.pem", &root)
        .file("server.pem", certificate.pem())
        .file("server.key", server_key.serialize_pem())
        .args(["--tls-port", "{spare_port}", "--tls-auth-clients", "no", "--tls-ca-cert-file", "{folder}/root.pem"])
        .args(["--tls-cert-file", "{folder}/server.pem", "--tls-key-file", "{folder}/server.key"]);
    (Servers::from_env().await.unwrap().start_one(&options).await.unwrap(), root)
}

fn url(server: &Server) -> String {
    format!("rediss://127.0.0.1:{}", server.spare_port().unwrap())
}

async fn locks(node: impl LockNode) {
    let redlock = Redlock::builder().node(node).node_timeout(Duration::from_secs(5)).build().unwrap();
    let lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

async fn is_not_trusted(node: impl LockNode) {
    let error = node.inspect(&InspectRequest::new(Resource::new("r").unwrap())).await.unwrap_err();
    assert_eq!(error.kind(), NodeErrorKind::Unreachable, "{error:?}");
    assert!(format!("{error:?}").to_lowercase().contains("unknownissuer"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_rs_locks_over_tls() {
    let (server, root) = server().await;
    is_not_trusted(redlock_redis_rs::RedisNode::open(url(&server)).unwrap()).await;
    let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(root.into_bytes()) };
    let client = redis::Client::build_with_tls(url(&server), certificates).unwrap();
    locks(redlock_redis_rs::RedisNode::new(client)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fred_locks_over_tls() {
    let (server, root) = server().await;
    is_not_trusted(redlock_fred::RedisNode::open(url(&server)).unwrap()).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = Config::from_url(&url(&server)).unwrap();
    config.tls = Some(TlsConnector::from(tls).into());
    locks(redlock_fred::RedisNode::new(config)).await;
}

/// A cluster of one member that accepts only clients with a certificate of its authority.
struct Closed {
    server: Server,
    root: String,
    certificate: String,
    key: KeyPair,
}

impl Closed {
    async fn start() -> Self {
        let [authority_key, server_key, key] = [(); 3].map(|()| KeyPair::generate().unwrap());
        let mut authority = CertificateParams::default();
        // A certificate that names itself as its issuer would count as self-signed.
        authority.distinguished_name.push(DnType::CommonName, "authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::from_params(&authority, &authority_key);
        let signed =
            |name: &str, key| CertificateParams::new([name.to_owned()]).unwrap().signed_by(key, &issuer).unwrap().pem();
        let certificate = signed("client", &key);
        let options = ServerOptions::new()
            .file("root.pem", &root)
            .file("server.pem", signed("127.0.0.1", &server_key))
            .file("server.key", server_key.serialize_pem())
            .args([
                "--tls-port",
                "{spare_port}",
                "--tls-auth-clients",
                "yes",
                "--tls-ca-cert-file",
                "{folder}/root.pem",
            ])
            .args(["--tls-cert-file", "{folder}/server.pem", "--tls-key-file", "{folder}/server.key"])
            .args(["--cluster-enabled", "yes", "--cluster-config-file", "{folder}/nodes.conf", "--tls-cluster", "yes"]);
        let server = Servers::from_env().await.unwrap().start_one(&options).await.unwrap();
        let slots: Vec<_> = (0..16384).map(|slot| slot.to_string()).collect();
        let add: Vec<_> = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
        server.command(&add).await.unwrap();
        let is_ok = async || {
            let info = server.command(&["CLUSTER", "INFO"]).await.unwrap().text().unwrap();
            info.contains("cluster_state:ok")
        };
        assert!(eventually(is_ok).await);
        Self { server, root, certificate, key }
    }

    /// Returns the URLs of the cluster and of its member by itself.
    fn urls(&self) -> [String; 2] {
        let url = url(&self.server);
        [url.replace("rediss", "rediss-cluster"), url]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_rs_presents_a_client_certificate_to_a_server_and_to_a_cluster() {
    let closed = Closed::start().await;
    let client_tls = redis::ClientTlsConfig {
        client_cert: closed.certificate.clone().into_bytes(),
        client_key: closed.key.serialize_pem().into_bytes(),
    };
    let root_cert = Some(closed.root.clone().into_bytes());
    let with = redis::TlsCertificates { client_tls: Some(client_tls), root_cert: root_cert.clone() };
    let without = redis::TlsCertificates { client_tls: None, root_cert };
    for url in closed.urls() {
        let url = NodeUrl::parse(&url).unwrap();
        let node = |certificates| {
            redlock_redis_rs::RedisNode::new(
                redlock_redis_rs::RedisClient::with_certificates(&url, certificates).unwrap(),
            )
        };
        locks(node(&with)).await;
        let error = node(&without).inspect(&InspectRequest::new(Resource::new("r").unwrap())).await.unwrap_err();
        assert_eq!(error.kind(), NodeErrorKind::Unreachable, "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fred_presents_a_client_certificate_to_a_server_and_to_a_cluster() {
    let closed = Closed::start().await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(closed.root.as_bytes()).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(closed.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(closed.key.serialize_pem().as_bytes()).unwrap();
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    for url in closed.urls() {
        let mut config = Config::from_url(&url).unwrap();
        config.tls = Some(TlsConnector::from(tls.clone()).into());
        locks(redlock_fred::RedisNode::new(config)).await;
    }
}
