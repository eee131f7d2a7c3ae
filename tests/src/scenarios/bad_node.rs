//! Nodes that answer, but not as a lock needs it: the error says what an operator can do, and a quorum of good nodes
//! does without them.

use std::{error::Error, sync::Arc, time::Duration};

use redlock_core::{
    AcquireError, AcquireOptions, LockNode, NodeErrorKind, Redlock, Release, Resource, Resources, Token, Ttl,
    backend::{AcquireAnswer, AcquireRequest, InspectRequest},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    lab::{Lab, eventually},
    log::Log,
    servers::{Reply, ServerOptions},
};

const TTL: Duration = Duration::from_secs(30);

pub(super) async fn a_key_of_another_type_is_reported_and_not_deleted(lab: &Lab) {
    lab.set_list(0, "r").await;
    let error = lab.redlock(1).try_acquire("r", TTL).await.unwrap_err();
    assert!(error.to_string().contains("the key holds another type"), "{error}");
    // Two other nodes do without it, and the list still exists.
    let lock = lab.redlock(3).try_acquire("r", TTL).await.unwrap().unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    let still = lab.node(0).inspect(&InspectRequest::new(Resource::new("r").unwrap())).await;
    assert_eq!(still.unwrap_err().kind(), NodeErrorKind::WrongType);
}

/// Checks that the node behind `url` fails with `kind` every time, that two good nodes lock without it, and that the
/// error gives advice.
async fn check(lab: &Lab, url: &str, kind: NodeErrorKind) {
    let node = lab.open(url);
    let request = AcquireRequest::new(Resource::new("r").unwrap(), Token::from_bytes([1; 20]), Ttl::new(TTL).unwrap());
    for attempt in 1..=3 {
        let error = node.acquire(&request).await.unwrap_err();
        assert_eq!(error.kind(), kind, "attempt {attempt}: {error:?}");
    }

    let redlock = Redlock::builder().nodes(lab.nodes(2)).node(Arc::clone(&node)).build().unwrap();
    let lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);

    let alone = Redlock::builder().node(node).node_timeout(Duration::from_secs(5)).build().unwrap();
    let error = alone.try_acquire("r", TTL).await.unwrap_err().to_string();
    assert!(error.contains(&kind.to_string()), "{error}");
    assert!(error.contains(kind.advice().unwrap_or_default()), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

pub(super) async fn a_wrong_password_is_reported(lab: &Lab) {
    let server = lab.server(&ServerOptions::new().args(["--requirepass", "swordfish"])).await;
    check(lab, &format!("redis://:hunter2@127.0.0.1:{}", server.port()), NodeErrorKind::Authentication).await;
    check(lab, &format!("redis://nobody:hunter2@127.0.0.1:{}", server.port()), NodeErrorKind::Authentication).await;
}

pub(super) async fn a_missing_password_is_reported(lab: &Lab) {
    let server = lab.server(&ServerOptions::new().args(["--requirepass", "swordfish"])).await;
    check(lab, &format!("redis://127.0.0.1:{}", server.port()), NodeErrorKind::Authentication).await;
}

pub(super) async fn a_user_without_permission_for_scripts_is_reported(lab: &Lab) {
    let server = lab.server(&ServerOptions::new()).await;
    let rules = ["ACL", "SETUSER", "clerk", "on", ">hunter2", "~*", "+@all", "-@scripting"];
    server.command(&rules).await.unwrap();
    check(lab, &format!("redis://clerk:hunter2@127.0.0.1:{}", server.port()), NodeErrorKind::Permission).await;
}

pub(super) async fn a_read_only_replica_is_reported(lab: &Lab) {
    let primary = lab.site(4).port().to_string();
    let replica = lab.server(&ServerOptions::new().args(["--replicaof", "127.0.0.1", &primary])).await;
    check(lab, &replica.url(), NodeErrorKind::ReadOnly).await;
}

pub(super) async fn a_replica_does_not_grant_a_lock_that_was_copied_to_it(lab: &Lab) {
    let primary = lab.site(4).port().to_string();
    let replica = lab.server(&ServerOptions::new().args(["--replicaof", "127.0.0.1", &primary])).await;
    let (node, copy) = (lab.node(4), lab.open(&replica.url()));
    for names in [&["r"][..], &["a", "b"]] {
        let keys = Resources::new(names).unwrap();
        let request = AcquireRequest::new(keys, Token::from_bytes([1; 20]), Ttl::new(TTL).unwrap());
        assert_eq!(node.acquire(&request).await.unwrap().answer, AcquireAnswer::granted());
        for name in names {
            let copied = async || replica.command(&["GET", name]).await.unwrap().text().is_some();
            assert!(eventually(copied).await);
        }
        // The primary grants it again, because the request may have been sent again; its copy is not a second vote.
        assert_eq!(node.acquire(&request).await.unwrap().answer, AcquireAnswer::granted());
        assert_eq!(copy.acquire(&request).await.unwrap_err().kind(), NodeErrorKind::ReadOnly);
    }
}

pub(super) async fn a_node_out_of_memory_is_reported(lab: &Lab) {
    let server = lab.server(&ServerOptions::new()).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    check(lab, &server.url(), NodeErrorKind::OutOfMemory).await;
}

pub(super) async fn beyond_the_promise_a_node_that_evicts_forgets_a_lock(lab: &Lab) {
    let server = lab.server(&ServerOptions::new().args(["--maxmemory-policy", "allkeys-random"])).await;
    let (ours, theirs) =
        (Redlock::new([lab.open(&server.url())]).unwrap(), Redlock::new([lab.open(&server.url())]).unwrap());
    let lock = ours.acquire("r", TTL).await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    let evicted = eventually(async || server.command(&["DBSIZE"]).await.unwrap() == Reply::Integer(0));
    assert!(evicted.await);
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    let next = theirs.acquire("r", TTL).await.unwrap();
    assert!(lock.check().is_ok() && next.check().is_ok(), "two holders");
    // Still promised: the first holder learns of it at its release, and takes nothing from the second.
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    assert_eq!(next.release().await.unwrap(), Release::Released);
}

pub(super) async fn a_loading_node_is_reported(lab: &Lab) {
    let answer = "-LOADING Redis is loading the dataset in memory\r\n";
    check(lab, &parrot(answer).await, NodeErrorKind::Loading).await;
}

pub(super) async fn an_unknown_host_is_reported(lab: &Lab) {
    check(lab, "redis://no-such-host.invalid", NodeErrorKind::Unreachable).await;
}

pub(super) async fn a_server_that_is_not_redis_is_an_error(lab: &Lab) {
    let node = lab.open(&parrot("HTTP/1.1 400 Bad Request\r\n\r\n").await);
    let redlock = Redlock::builder().nodes(lab.nodes(2)).node(Arc::clone(&node)).build().unwrap();
    assert_eq!(redlock.try_acquire("r", TTL).await.unwrap().unwrap().release().await.unwrap(), Release::Released);
    let alone = Redlock::builder().node(node).node_timeout(Duration::from_secs(5)).build().unwrap();
    alone.try_acquire("r", TTL).await.unwrap_err();
}

pub(super) async fn a_server_with_too_many_clients_is_reported(lab: &Lab) {
    let server = lab.server(&ServerOptions::new()).await;
    let _only_client = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    server.command(&["CONFIG", "SET", "maxclients", "1"]).await.unwrap();
    check(lab, &server.url(), NodeErrorKind::Rejected).await;
}

pub(super) async fn a_server_in_protected_mode_is_reported(lab: &Lab) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let denied = b"-DENIED Redis is running in protected mode because protected mode is enabled\r\n";
            let _ = connection.write_all(denied).await;
        }
    });
    check(lab, &url, NodeErrorKind::Rejected).await;
}

pub(super) async fn a_database_that_does_not_exist_is_reported(lab: &Lab) {
    check(lab, &format!("redis://127.0.0.1:{}/99", lab.site(4).port()), NodeErrorKind::Database).await;
}

pub(super) async fn a_port_without_tls_is_reported(lab: &Lab) {
    let url = format!("rediss://127.0.0.1:{}", lab.site(4).port());
    let request = InspectRequest::new(Resource::new("r").unwrap());
    let error = lab.open(&url).inspect(&request).await.unwrap_err();
    // The general advice for nodes that cannot be reached also mentions TLS.
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("does the port speak TLS?"), "{error:?}");
}

pub(super) async fn errors_that_no_retry_can_cure_end_the_call_early(lab: &Lab) {
    let server = lab.server(&ServerOptions::new().args(["--requirepass", "swordfish"])).await;
    let alone = Redlock::builder().node(lab.open(&format!("redis://:hunter2@127.0.0.1:{}", server.port())));
    let alone = alone.node_timeout(Duration::from_secs(5)).build().unwrap();
    // A minute, because an attempt may take long on a busy machine.
    let patient = AcquireOptions::new(TTL).timeout(Duration::from_secs(60));
    let error = alone.acquire("r", patient).await.unwrap_err();
    assert!(matches!(error, AcquireError::NoQuorum(_)), "{error}");
}

/// Returns everything that a user could print after these failures: errors, their causes, and the log.
async fn printed_after_failures(url: &str, lab: &Lab, token: Token) -> String {
    let log = Log::of_this_process();
    let (mark, node) = (log.mark(), lab.open(url));
    let key = Resource::new("r").unwrap();
    let mut keys = Resources::new(["r", "s"]).unwrap();
    let mut printed = String::new();
    for _ in 0..2 {
        let request = AcquireRequest::new(keys, token, Ttl::new(TTL).unwrap());
        let error = node.acquire(&request).await.unwrap_err();
        let mut cause: Option<&dyn Error> = Some(&error);
        while let Some(error) = cause {
            printed += &format!("{error} {error:?}\n");
            cause = error.source();
        }
        keys = key.clone().into();
    }
    let redlock = Redlock::builder().node(Arc::clone(&node)).node_timeout(Duration::from_secs(5)).build().unwrap();
    let error = redlock.try_acquire("r", TTL).await.unwrap_err();
    let inspection = redlock.inspect("r").await.unwrap();
    let report = redlock.check_nodes().await.unwrap();
    // Other tests of this process also write to the log.
    let log = log.since(mark);
    let log: Vec<_> = log.lines().filter(|line| line.contains(node.name())).collect();
    printed + &format!("{error} {error:?} {inspection} {inspection:?} {report} {}", log.join("\n"))
}

fn shows_no_secret(printed: &str, token: Token) {
    assert!(!printed.contains(&token.as_str()[..8]), "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
    let longest = printed.split(|char: char| !char.is_ascii_hexdigit()).map(str::len).max();
    assert!(longest < Some(40), "this may be a token: {printed}");
}

pub(super) async fn no_message_of_a_server_shows_a_token_or_a_password(lab: &Lab) {
    let token = Token::from_bytes([0xc5; 20]);
    // Redis repeats the arguments of an unknown command.
    let without_scripts =
        ServerOptions::new().args(["--rename-command", "EVALSHA", "", "--rename-command", "EVAL", ""]);
    let server = lab.server(&without_scripts).await;
    let printed = printed_after_failures(&server.url(), lab, token).await;
    assert!(printed.contains("unknown command"), "{printed}");
    shows_no_secret(&printed, token);
    // A server may send anything, including the login.
    let echo = answering(|request| format!("-ERR do not know {}\r\n", request.replace("\r\n", " "))).await;
    shows_no_secret(&printed_after_failures(&echo, lab, token).await, token);
    let login = echo.replace("redis://", "redis://clerk:hunter2@");
    shows_no_secret(&printed_after_failures(&login, lab, token).await, token);
}

pub(super) async fn a_message_of_a_server_is_truncated_to_500_characters(lab: &Lab) {
    let node = lab.open(&answering(|_| format!("-ERR {}\r\n", "long ".repeat(20_000))).await);
    let redlock = Redlock::builder().node(node).node_timeout(Duration::from_secs(5)).build().unwrap();
    let error = redlock.try_acquire("r", TTL).await.unwrap_err();
    let printed = format!("{error} {error:?}");
    assert!(printed.contains("long long") && printed.len() < 3_000, "{} characters: {printed}", printed.len());
}

/// Starts a server that answers everything with the same text, even the handshake of a client, as a loading Redis does.
async fn parrot(answer: &'static str) -> String {
    answering(move |_| answer.to_owned()).await
}

/// Starts a server that answers each command of a request with the same text.
async fn answering(answer: impl Fn(&str) -> String + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while let Ok(read @ 1..) = connection.read(&mut request).await {
                    // One answer per command: each starts with `*` at the beginning of a line.
                    let text = String::from_utf8_lossy(&request[..read]).into_owned();
                    let commands = text.split("\r\n").filter(|line| line.starts_with('*')).count().max(1);
                    if connection.write_all(answer(&text).repeat(commands).as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    url
}
