//! How nodes are reached: URLs, sockets, and connections that break.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redlock_core::{
    AcquireAnswer, AcquireRequest, InspectAnswer, InspectRequest, LockNode, Redlock, Release, ReleaseError, Resource,
    Token, Ttl,
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

/// Takes and gives back a lock on the one node behind `url`, and finds the key in database `db` meanwhile.
async fn check(lab: &Lab, url: &str, server: &Server, db: &str) {
    let node = lab.open(url);
    let name = node.name().to_owned();
    assert!(!name.contains("hunter2"), "{name}");
    let redlock = Redlock::new([node]).unwrap();
    let lock = redlock.try_acquire("r", TTL).await.unwrap();
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
    let lock = redlock.try_acquire("r", TTL).await.unwrap();
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

pub(super) async fn scripts_that_the_server_forgot_are_sent_again(lab: &Lab) {
    let redlock = lab.redlock(3);
    for _ in 0..3 {
        for index in 0..3 {
            lab.site(index).command(&["SCRIPT", "FLUSH"]).await.unwrap();
        }
        let mut lock = redlock.try_acquire("r", TTL).await.unwrap();
        lock.extend(TTL).await.unwrap();
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        redlock.close().await.unwrap();
    }
}

pub(super) async fn a_broken_connection_is_made_anew(lab: &Lab) {
    let redlock = lab.redlock(3);
    redlock.try_acquire("r", TTL).await.unwrap().release().await.unwrap();
    for index in 0..3 {
        lab.site(index).command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await.unwrap();
    }
    let again = eventually(async || match redlock.try_acquire("r", TTL).await {
        Ok(lock) => lock.release().await.is_ok(),
        Err(_) => false,
    });
    assert!(again.await);
    // What was sent again must not arrive in the middle of another scenario.
    redlock.close().await.unwrap();
}

pub(super) async fn a_lost_answer_raises_no_false_alarm(lab: &Lab) {
    let (url, lose_answer) = proxy(lab.site(0).port()).await;
    let redlock = Redlock::new([lab.open(&url)]).unwrap();
    let lock = redlock.try_acquire("r", TTL).await.unwrap();
    // Carried out, answer lost, and sent again: the lock was ours to the end, and the second release cannot know it.
    lose_answer.store(true, Ordering::SeqCst);
    let error = lock.release().await.unwrap_err();
    assert!(matches!(error, ReleaseError::Unknown { .. }), "{error}");
    assert!(!lose_answer.load(Ordering::SeqCst), "no answer was lost");
    assert_eq!(lab.value(0, "r").await, None);
    // An acquire that was carried out and whose answer was lost finds its own token.
    lose_answer.store(true, Ordering::SeqCst);
    let lock = redlock.try_acquire("r", TTL).await.unwrap();
    assert!(!lose_answer.load(Ordering::SeqCst), "no answer was lost");
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

/// Passes everything on to a server, but when told so breaks the connection in place of the next answer.
async fn proxy(port: u16) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let lose_answer = Arc::new(AtomicBool::new(false));
    let lose = Arc::clone(&lose_answer);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let lose = Arc::clone(&lose);
            tokio::spawn(async move {
                // Once the scenario is over, its server is gone while its node may still connect.
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
    let lock = redlock.try_acquire("r", TTL).await.unwrap();
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
