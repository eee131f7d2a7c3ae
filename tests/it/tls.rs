//! Nodes over TLS: by a URL that trusts the public roots, and by a client that trusts a root of the user's own.

use std::{sync::Arc, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use redlock_core::{InspectRequest, LockNode, NodeErrorKind, Redlock, Release, Resource};
use redlock_fred::fred::types::config::{Config, TlsConnector};
use redlock_redis_rs::redis;
use redlock_tests::servers::{Server, ServerOptions, Servers};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

const TTL: Duration = Duration::from_secs(30);

/// A server with a certificate of an authority that nobody knows, and that authority.
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
    let lock = redlock.try_acquire("r", TTL).await.unwrap();
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
