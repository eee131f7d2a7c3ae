//! Nodes with certificates of a private authority, which require a client certificate.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use redlock_tests::servers::ServerOptions;
use tokio::process::Command;

use crate::stage::{Stage, bare, outcome};

/// Returns a node that only clients with a certificate of its authority may use, and the files of such a client.
async fn stage() -> Stage {
    let [authority_key, server_key, client_key] = [(); 3].map(|()| KeyPair::generate().unwrap());
    let mut authority = CertificateParams::default();
    // A certificate that names itself as its issuer would count as self-signed.
    authority.distinguished_name.push(DnType::CommonName, "authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::from_params(&authority, &authority_key);
    let signed =
        |name: &str, key| CertificateParams::new([name.to_owned()]).unwrap().signed_by(key, &issuer).unwrap().pem();
    let options = ServerOptions::new()
        .file("root.pem", &root)
        .file("server.pem", signed("127.0.0.1", &server_key))
        .file("server.key", server_key.serialize_pem())
        .args(["--tls-port", "{spare_port}", "--tls-auth-clients", "yes", "--tls-ca-cert-file", "{folder}/root.pem"])
        .args(["--tls-cert-file", "{folder}/server.pem", "--tls-key-file", "{folder}/server.key"]);
    let stage = Stage::with(1, &options).await;
    fs::write(stage.file("root.pem"), root).unwrap();
    fs::write(stage.file("client.pem"), signed("client", &client_key)).unwrap();
    fs::write(stage.file("client.key"), client_key.serialize_pem()).unwrap();
    stage
}

fn run(stage: &Stage, options: &[&str]) -> Command {
    let run = ["run", "a", "--try", "--node-timeout", "3s"];
    let mut command = bare([&run[..], options, &["--", "echo", "ran"]].concat());
    let url = format!("rediss://127.0.0.1:{}", stage.servers[0].spare_port().unwrap());
    command.env("REDLOCK_NODES", url).current_dir(stage.file("."));
    command
}

#[tokio::test]
async fn certificates_are_given_as_options_or_in_the_file() {
    let stage = stage().await;
    let ours = ["--ca", "root.pem", "--cert", "client.pem", "--key", "client.key"];
    let told = outcome(run(&stage, &ours)).await;
    assert_eq!((told.code, told.stdout.as_str()), (0, "ran\n"), "{}", told.stderr);
    let text = "ca = \"root.pem\"\ncert = \"client.pem\"\nkey = \"client.key\"\n";
    fs::write(stage.file("redlock.toml"), text).unwrap();
    let told = outcome(run(&stage, &["--config", "redlock.toml"])).await;
    assert_eq!((told.code, told.stdout.as_str()), (0, "ran\n"), "{}", told.stderr);
    // With the system's authorities instead of ours.
    let mut system = run(&stage, &["--ca", "system", "--cert", "client.pem", "--key", "client.key"]);
    system.env("SSL_CERT_FILE", stage.file("root.pem"));
    assert_eq!(outcome(system).await.code, 0);
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let stage = stage().await;
    for (options, code, what) in [
        (&[][..], 122, "UnknownIssuer"),
        (&["--ca", "root.pem"], 122, "unreachable"),
        (&["--ca", "nowhere.pem"], 125, "cannot read nowhere.pem"),
        (&["--ca", "root.pem", "--cert", "client.pem"], 125, "--key is missing"),
        (&["--ca", "root.pem", "--key", "client.key"], 125, "--cert is missing"),
    ] {
        let told = outcome(run(&stage, options)).await;
        assert!(told.code == code && told.stderr.contains(what), "{options:?}: {told:?}");
    }
}
