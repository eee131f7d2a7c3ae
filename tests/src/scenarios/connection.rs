//! How nodes are reached: URLs, sockets, and connections that break.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    time::Duration,
};

use redlock_core::{
    LockNode, NodeErrorKind, Redlock, Release, ReleaseError, Resource, Token, Ttl,
    backend::{AcquireAnswer, AcquireRequest, InspectAnswer, InspectRequest, ListenRequest},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    lab::{Lab, eventually},
    servers::{Server, ServerOptions},
};

const TTL: Duration = Duration::from_secs(30);

/// Acquires and releases a lock on the one node behind `url`, and checks that its key is in database `db` meanwhile.
async fn check(lab: &Lab, url: &str, server: &Server, db: &str) {
    let node = lab.open(url);
    let name = node.name().to_owned();
    assert!(!name.contains("hunter2"), "{name}");
    let redlock = Redlock::new([node]).unwrap();
    let lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
    let databases = server.command(&["INFO", "keyspace"]).await.unwrap().text().unwrap();
    assert!(databases.contains(&format!("db{db}:keys=1")), "{databases}");
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    let databases = server.command(&["INFO", "keyspace"]).await.unwrap().text().unwrap();
    assert!(!databases.contains("keys="), "{databases}");
}

pub(super) async fn user_password_and_database_are_used(lab: &Lab) {
    let server = lab.server(&ServerOptions::new()).await;
    let port = server.port();
    server.command(&["ACL", "SETUSER", "clerk", "on", ">hunter2:@/?", "~*", "+@all"]).await.unwrap();
    check(lab, &format!("redis://clerk:hunter2%3A%40%2F%3F@127.0.0.1:{port}/3"), &server, "3").await;
    let timeouts = "connect_timeout=300ms&response_timeout=400ms";
    check(lab, &format!("redis://127.0.0.1:{port}?{timeouts}"), &server, "0").await;
}

pub(super) async fn a_redlock_go_url_is_used(lab: &Lab) {
    let server = lab.server(&ServerOptions::new().args(["--requirepass", "hunter2"])).await;
    let (port, timeouts) = (server.port(), "DialTimeout=500000000&ReadTimeout=500000000&WriteTimeout=500000000");
    let redlock = Redlock::new([lab.open(&format!("tcp://:hunter2@127.0.0.1:{port}/2?{timeouts}"))]).unwrap();
    let lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
    for (database, held) in [(0, false), (2, true)] {
        let node = lab.open(&format!("redis://:hunter2@127.0.0.1:{port}/{database}"));
        let answer = node.inspect(&InspectRequest::new(Resource::new("r").unwrap())).await.unwrap();
        assert_eq!(answer != InspectAnswer::Absent, held, "database {database}: {answer:?}");
    }
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn a_unix_socket_is_used(lab: &Lab) {
    let server = lab.server(&ServerOptions::new().unix_socket()).await;
    let socket = server.unix_socket().unwrap().display().to_string();
    check(lab, &format!("unix://{socket}?db=1"), &server, "1").await;
    check(lab, &format!("redis+unix://{socket}"), &server, "0").await;
}

pub(super) async fn scripts_that_the_server_no_longer_has_are_sent_again(lab: &Lab) {
    let redlock = lab.redlock(3);
    for _ in 0..3 {
        for index in 0..3 {
            lab.site(index).command(&["SCRIPT", "FLUSH"]).await.unwrap();
        }
        let mut lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
        lock.extend(TTL).await.unwrap();
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        redlock.close().await.unwrap();
    }
}

pub(super) async fn a_broken_connection_is_made_again(lab: &Lab) {
    let redlock = lab.redlock(3);
    let _ = redlock.try_acquire("r", TTL).await.unwrap().unwrap().release().await.unwrap();
    for index in 0..3 {
        lab.site(index).command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await.unwrap();
    }
    let again = eventually(async || match redlock.try_acquire("r", TTL).await {
        Ok(Some(lock)) => lock.release().await.is_ok(),
        Ok(None) | Err(_) => false,
    });
    assert!(again.await);
    // A request that was sent again must not arrive during another scenario.
    redlock.close().await.unwrap();
}

pub(super) async fn a_lost_answer_is_not_reported_as_a_lost_lock(lab: &Lab) {
    let (url, lose_answer) = proxy(lab.site(0).port()).await;
    let redlock = Redlock::new([lab.open(&url)]).unwrap();
    // From here on the server has all scripts, so no answer says that it lacks one.
    let _ = redlock.try_acquire("r", TTL).await.unwrap().unwrap().release().await.unwrap();
    let lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
    // The release is carried out, its answer is lost, and it is sent again. The lock was held until then, but the
    // second release cannot know it.
    lose_answer.store(true, Ordering::SeqCst);
    let error = lock.release().await.unwrap_err();
    assert!(matches!(error, ReleaseError::Unknown { .. }), "{error}");
    assert!(!lose_answer.load(Ordering::SeqCst), "no answer was lost");
    assert_eq!(lab.value(0, "r").await, None);
    // An acquire that was carried out, and whose answer was lost, finds its own token.
    lose_answer.store(true, Ordering::SeqCst);
    let lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
    assert!(!lose_answer.load(Ordering::SeqCst), "no answer was lost");
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

/// Forwards everything to a server, but on request breaks the connection instead of forwarding the next answer.
async fn proxy(port: u16) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let lose_answer = Arc::new(AtomicBool::new(false));
    let lose = Arc::clone(&lose_answer);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let lose = Arc::clone(&lose);
            tokio::spawn(async move {
                // After the scenario its server is gone, while its node may still connect.
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                let ((mut requests, mut to_client), (mut answers, mut to_server)) =
                    (client.into_split(), server.into_split());
                let pass_on = async {
                    let mut answer = [0; 4096];
                    while let Ok(read @ 1..) = answers.read(&mut answer).await {
                        if lose.swap(false, Ordering::SeqCst) || to_client.write_all(&answer[..read]).await.is_err() {
                            break;
                        }
                    }
                };
                tokio::select! {
                    () = pass_on => {}
                    _ = tokio::io::copy(&mut requests, &mut to_server) => {}
                }
            });
        }
    });
    (url, lose_answer)
}

pub(super) async fn no_password_is_ever_printed(lab: &Lab) {
    let server = lab.server(&ServerOptions::new().args(["--requirepass", "hunter2"])).await;
    let node = lab.open(&format!("redis://:hunter2@127.0.0.1:{}/1", server.port()));
    let redlock = Redlock::new([node.clone()]).unwrap();
    let lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
    server.stop().await.unwrap();
    let error = lock.release().await.unwrap_err();
    let printed = format!("{node:?} {redlock:?} {error} {error:?}");
    assert!(!printed.contains("hunter2"), "{printed}");
}

pub(super) async fn a_node_outlives_the_runtime_that_connected_it(lab: &Lab) {
    let node = lab.node(0);
    let request = AcquireRequest::new(Resource::new("r").unwrap(), Token::from_bytes([1; 20]), Ttl::new(TTL).unwrap());
    for _ in 0..3 {
        let (node, request) = (node.clone(), request.clone());
        let on_a_runtime_of_its_own = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let granted =
                    async || node.acquire(&request).await.is_ok_and(|timed| timed.answer == AcquireAnswer::granted());
                // One operation may find the old connection dead.
                granted().await || granted().await
            })
        });
        let granted = tokio::task::spawn_blocking(move || on_a_runtime_of_its_own.join()).await.unwrap().unwrap();
        assert!(granted);
    }
}

pub(super) async fn a_user_without_a_password_never_becomes_another_user(lab: &Lab) {
    let server = lab.server(&ServerOptions::new()).await;
    let port = server.port();
    server.command(&["ACL", "SETUSER", "open", "on", "nopass", "~*", "+@all"]).await.unwrap();
    server.command(&["ACL", "SETUSER", "closed", "on", ">hunter2", "~*", "+@all"]).await.unwrap();
    for url in [format!("redis://open@127.0.0.1:{port}"), format!("redis://open:@127.0.0.1:{port}")] {
        let redlock = Redlock::new([lab.open(&url)]).unwrap();
        let lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
        let clients = server.command(&["CLIENT", "LIST"]).await.unwrap().text().unwrap();
        assert!(clients.contains("user=open"), "{clients}");
        assert_eq!(lock.release().await.unwrap(), Release::Released);
    }
    for url in [format!("redis://closed@127.0.0.1:{port}"), format!("redis://nobody:@127.0.0.1:{port}")] {
        let request = InspectRequest::new(Resource::new("r").unwrap());
        let error = lab.open(&url).inspect(&request).await.unwrap_err();
        assert_eq!(error.kind(), NodeErrorKind::Authentication, "{error:?}");
    }
}

pub(super) async fn a_password_for_a_server_without_one_is_no_error(lab: &Lab) {
    let node = lab.open(&format!("redis://:hunter2@127.0.0.1:{}", lab.site(0).port()));
    let lock = Redlock::new([node]).unwrap().try_acquire("r", TTL).await.unwrap().unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn idle_connections_are_kept_alive(lab: &Lab) {
    // Only Linux lists the timers of connections.
    if !cfg!(target_os = "linux") {
        return;
    }
    let server = lab.server(&ServerOptions::new()).await;
    for (options, kept_alive) in [("", true), ("?keepalive=1h", true), ("?keepalive=off", false)] {
        let node = lab.open(&format!("{}{options}", server.url()));
        let _listening = node.listen(&ListenRequest::new("channel".into())).await.unwrap();
        node.inspect(&InspectRequest::new(Resource::new("r").unwrap())).await.unwrap();
        let timers = || async { keepalive_timers(server.port()).is_some_and(|timers| timers == [kept_alive; 2]) };
        assert!(eventually(timers).await, "{options:?}: {:?}", keepalive_timers(server.port()));
        drop((node, _listening));
        assert!(eventually(|| async { keepalive_timers(server.port()).is_some_and(|timers| timers.is_empty()) }).await);
    }
}

pub(super) async fn a_silently_dropped_idle_connection_costs_no_vote(lab: &Lab) {
    let (url, forget) = forgetful(lab.site(0).port()).await;
    let node = lab.open(&format!("{url}?idle_limit=1s&keepalive=off&response_timeout=4s"));
    let redlock = Redlock::builder().node(node).node_timeout(Duration::from_secs(9)).build().unwrap();
    let _ = redlock.try_acquire("r", TTL).await.unwrap().unwrap().release().await.unwrap();

    forget.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let lock = redlock.try_acquire("r", TTL).await.unwrap().expect("nobody else has it");
    assert!(lab.value(0, "r").await.is_some());
    // Whether the release is sent twice depends on the speed of the machine.
    let _ = lock.release().await;
    assert_eq!(lab.value(0, "r").await, None);
}

/// Forwards everything to a server. On request, it drops all data of the existing connections without closing them.
async fn forgetful(port: u16) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let forget = Arc::new(AtomicBool::new(false));
    let forgets = Arc::clone(&forget);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let is_kept = forgets.load(Ordering::SeqCst);
            let forgets = Arc::clone(&forgets);
            tokio::spawn(async move {
                // Once the scenario is over, its server is gone while its node may still connect.
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                let ((mut requests, mut to_client), (mut answers, mut to_server)) =
                    (client.into_split(), server.into_split());
                let pass_on = async {
                    let mut request = [0; 4096];
                    while let Ok(read @ 1..) = requests.read(&mut request).await {
                        let is_forgotten = !is_kept && forgets.load(Ordering::SeqCst);
                        if !is_forgotten && to_server.write_all(&request[..read]).await.is_err() {
                            break;
                        }
                    }
                };
                tokio::select! {
                    () = pass_on => {}
                    _ = tokio::io::copy(&mut answers, &mut to_client) => {}
                }
            });
        }
    });
    (url, forget)
}

/// For each connection to this port, returns whether the system checks it while it is idle. `None` while one is in use.
fn keepalive_timers(port: u16) -> Option<Vec<bool>> {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    let mut timers = Vec::new();
    for line in table.lines() {
        let columns: Vec<_> = line.split_whitespace().collect();
        if let [_, _, to, ESTABLISHED, _, timer, ..] = columns[..]
            && to.ends_with(&remote)
        {
            match timer.split(':').next() {
                Some("00") => timers.push(false),
                Some("02") => timers.push(true),
                _ => return None,
            }
        }
    }
    Some(timers)
}

pub(super) async fn a_host_name_that_leads_to_another_server_is_followed(lab: &Lab) {
    let (before, after) = (lab.server(&ServerOptions::new()).await, lab.server(&ServerOptions::new()).await);
    let leads_to = Arc::new(AtomicU16::new(before.port()));
    let redlock = Redlock::new([lab.open(&name(Arc::clone(&leads_to)).await)]).unwrap();
    let _ = redlock.try_acquire("r", TTL).await.unwrap().unwrap().release().await.unwrap();

    leads_to.store(after.port(), Ordering::SeqCst);
    before.command(&["REPLICAOF", "127.0.0.1", &after.port().to_string()]).await.unwrap();
    let acquired = eventually(async || match redlock.try_acquire("r", TTL).await {
        Ok(Some(lock)) => {
            assert!(after.command(&["GET", "r"]).await.unwrap().text().is_some());
            lock.release().await.is_ok()
        }
        Ok(None) | Err(_) => false,
    });
    assert!(acquired.await, "the connection to the server that is a replica now is kept");
}

/// Starts a proxy that leads new connections to this port; existing ones stay with their server.
async fn name(leads_to: Arc<AtomicU16>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let port = leads_to.load(Ordering::SeqCst);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    url
}

pub(super) async fn a_node_far_away_grants_the_first_attempt(lab: &Lab) {
    // Connecting takes two or more round trips, and the automatic node timeout for this TTL is 200 ms.
    let url = far_away(lab.site(0).port(), Duration::from_millis(75)).await;
    let redlock = Redlock::new([lab.open(&format!("{url}?connect_timeout=9s"))]).unwrap();
    let lock = redlock.try_acquire("r", Duration::from_secs(10)).await.unwrap().unwrap();
    drop(lock);
    redlock.close().await.unwrap();
}

/// Forwards everything to a server and back, each time after this delay.
async fn far_away(port: u16, delay: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            for (mut from, mut to) in [(from_client, to_server), (from_server, to_client)] {
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    while let Ok(read @ 1..) = from.read(&mut bytes).await {
                        tokio::time::sleep(delay).await;
                        if to.write_all(&bytes[..read]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        }
    });
    url
}
