//! Tests of the test servers: they do what the tests require of them.

use std::{
    env,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use redlock_tests::{
    backend::Backend,
    lab::Lab,
    servers::{Reply, Server, ServerClock, ServerOptions, Servers},
};

const SHORT: Duration = Duration::from_millis(200);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Starts servers that can fail. If the given servers cannot, the test fails, because it could not check its promise.
async fn fleet(count: usize, options: ServerOptions) -> Result<Vec<Server>> {
    let servers = Servers::from_env().await?;
    ensure!(servers.can_fail(), "this test stops servers: {} cannot be", servers.describe());
    servers.start(count, &options).await
}

fn text_of(error: &anyhow::Error) -> String {
    format!("{error:#}")
}

#[tokio::test]
async fn three_servers_answer_each_with_its_own_memory() -> Result<()> {
    let servers = Servers::from_env().await?;
    let fleet = servers.start(3, &ServerOptions::new()).await?;
    let key = format!("servers:{}", std::process::id());
    fleet[0].command(&["SET", &key, "first", "PX", "60000"]).await?;
    assert_eq!(fleet[0].command(&["GET", &key]).await?, Reply::Bulk(b"first".to_vec()));
    assert!(fleet[1].command(&["GET", &key]).await?.is_nil());
    assert!(fleet[2].command(&["GET", &key]).await?.is_nil());
    fleet[0].command(&["DEL", &key]).await?;
    Ok(())
}

#[tokio::test]
async fn a_paused_server_accepts_and_does_not_answer_until_it_is_resumed() -> Result<()> {
    for server in fleet(1, ServerOptions::new()).await? {
        server.pause().await?;
        let error = server.command_within(SHORT, &["SET", "late", "1"]).await.unwrap_err();
        assert!(text_of(&error).contains("no answer within"), "{error:#}");
        server.resume().await?;
        // The request of a client that gave up is carried out anyway.
        assert_eq!(server.command(&["GET", "late"]).await?.text().as_deref(), Some("1"));
    }
    Ok(())
}

#[tokio::test]
async fn a_lab_that_is_reset_executes_no_request_of_an_earlier_scenario() -> Result<()> {
    let servers = Servers::from_env().await?;
    ensure!(servers.can_fail(), "a lab stops its servers: {} cannot be", servers.describe());
    let mut lab = Lab::on_servers(Backend::RedisRs, &servers).await?;
    let mut earlier = TcpStream::connect((lab.site(0).host(), lab.site(0).port()))?;
    earlier.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut answer = [0; 7];
    earlier.write_all(b"PING\r\n")?;
    earlier.read_exact(&mut answer)?;
    assert_eq!(&answer, b"+PONG\r\n");
    lab.reset(Backend::RedisRs).await?;
    // The first write after the other side has closed the connection may succeed.
    let _ = earlier.write_all(b"SET late 1\r\n");
    assert_eq!(earlier.read(&mut answer).unwrap_or(0), 0, "the connection is still open");
    assert_eq!(lab.value(0, "late").await, None);
    Ok(())
}

#[tokio::test]
async fn a_stopped_server_refuses_and_restarts_empty_on_the_same_port() -> Result<()> {
    for server in fleet(1, ServerOptions::new()).await? {
        let port = server.port();
        server.command(&["SET", "kept", "no"]).await?;
        server.stop().await?;
        let refused = Instant::now();
        let error = server.command(&["GET", "kept"]).await.unwrap_err();
        assert!(refused.elapsed() < SHORT && text_of(&error).contains("refused"), "{error:#}");
        server.start().await?;
        assert_eq!(server.port(), port);
        assert!(server.command(&["GET", "kept"]).await?.is_nil());
    }
    Ok(())
}

#[tokio::test]
async fn a_paused_server_can_be_stopped_and_started_and_answers() -> Result<()> {
    for server in fleet(1, ServerOptions::new()).await? {
        server.pause().await?;
        server.stop().await?;
        server.start().await?;
        assert_eq!(server.command(&["PING"]).await?.text().as_deref(), Some("PONG"));
    }
    Ok(())
}

#[tokio::test]
async fn a_server_with_memory_restarts_with_its_keys() -> Result<()> {
    for server in fleet(1, ServerOptions::new().keep_memory()).await? {
        server.command(&["SET", "kept", "yes"]).await?;
        server.stop().await?;
        server.start().await?;
        assert_eq!(server.command(&["GET", "kept"]).await?.text().as_deref(), Some("yes"));
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_cut_off_cannot_be_reached_and_reconnects_with_its_keys() -> Result<()> {
    let servers = Servers::from_env().await?;
    if !servers.can_cut_off() {
        return Ok(());
    }
    let server = servers.start_one(&ServerOptions::new().can_be_cut_off()).await?;
    server.command(&["SET", "kept", "yes"]).await?;
    server.cut_off().await?;
    server.command_within(SHORT, &["GET", "kept"]).await.unwrap_err();
    server.reconnect().await?;
    assert_eq!(server.command(&["GET", "kept"]).await?.text().as_deref(), Some("yes"));
    Ok(())
}

#[tokio::test]
async fn a_server_cannot_be_cut_off_unless_it_was_started_for_that() -> Result<()> {
    for server in fleet(1, ServerOptions::new()).await? {
        assert!(text_of(&server.cut_off().await.unwrap_err()).contains("can_be_cut_off"));
    }
    Ok(())
}

#[tokio::test]
async fn the_clock_of_a_server_jumps_an_hour_and_back_and_keys_expire_by_it() -> Result<()> {
    for server in fleet(1, ServerOptions::new().fake_clock()).await? {
        assert_eq!(ahead(&server).await?, 0);
        server.command(&["SET", "short", "1", "PX", "60000"]).await?;
        server.command(&["SET", "long", "1", "PX", "7200000"]).await?;

        server.set_clock(ServerClock::Ahead(HOUR)).await?;
        assert_eq!(ahead(&server).await?, 60);
        assert!(server.command(&["GET", "short"]).await?.is_nil(), "a minute's key outlives an hour");
        assert!((58..=60).contains(&minutes_left(&server, "long").await?));

        server.set_clock(ServerClock::Behind(HOUR)).await?;
        assert_eq!(ahead(&server).await?, -60);
        assert!((178..=180).contains(&minutes_left(&server, "long").await?));

        // A clock that is wrong, but runs at the right rate, changes nothing.
        server.command(&["SET", "soon", "1", "PX", "100"]).await?;
        assert_eq!(server.command(&["EXISTS", "soon"]).await?, Reply::Integer(1));
        tokio::time::sleep(SHORT).await;
        assert!(server.command(&["GET", "soon"]).await?.is_nil());

        server.set_clock(ServerClock::Right).await?;
        assert_eq!(ahead(&server).await?, 0);
        assert_eq!(server.command(&["PING"]).await?.text().as_deref(), Some("PONG"));
    }
    Ok(())
}

#[tokio::test]
async fn a_clock_that_was_set_survives_a_restart_and_affects_only_its_server() -> Result<()> {
    let fleet = fleet(2, ServerOptions::new().fake_clock().keep_memory()).await?;
    fleet[0].command(&["SET", "kept", "1", "PX", "60000"]).await?;
    fleet[0].set_clock(ServerClock::Behind(HOUR)).await?;
    fleet[0].stop().await?;
    fleet[0].start().await?;
    assert_eq!((ahead(&fleet[0]).await?, ahead(&fleet[1]).await?), (-60, 0));
    assert!(minutes_left(&fleet[0], "kept").await? >= 59);
    Ok(())
}

#[tokio::test]
async fn a_clock_cannot_be_set_unless_the_server_was_started_for_that() -> Result<()> {
    for server in fleet(1, ServerOptions::new()).await? {
        let error = server.set_clock(ServerClock::Ahead(HOUR)).await.unwrap_err();
        assert!(text_of(&error).contains("fake_clock"), "{error:#}");
    }
    Ok(())
}

/// Returns by how many minutes the server's clock is ahead, as the server reports it.
async fn ahead(server: &Server) -> Result<i64> {
    let Reply::Array(time) = server.command(&["TIME"]).await? else { bail!("TIME returns no time") };
    let told: f64 = time.first().and_then(Reply::text).context("no seconds")?.parse()?;
    let here = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(((told - here.as_secs_f64()) / MINUTE.as_secs_f64()).round() as i64)
}

async fn minutes_left(server: &Server, key: &str) -> Result<i64> {
    Ok(server.command(&["PTTL", key]).await?.integer().context("no PTTL")? / 60_000)
}

#[tokio::test]
async fn a_missing_password_is_an_error_and_so_is_every_error_reply() -> Result<()> {
    for server in fleet(1, ServerOptions::new().args(["--requirepass", "secret"])).await? {
        let error = server.command(&["GET", "key"]).await.unwrap_err();
        assert!(text_of(&error).contains("NOAUTH"), "{error:#}");
    }
    Ok(())
}

#[tokio::test]
async fn a_replica_reaches_its_primary_and_refuses_writes() -> Result<()> {
    for primary in fleet(1, ServerOptions::new()).await? {
        let options = ServerOptions::new().args(["--replicaof", "127.0.0.1", &primary.port().to_string()]);
        for replica in fleet(1, options).await? {
            let error = replica.command(&["SET", "key", "1"]).await.unwrap_err();
            assert!(text_of(&error).contains("READONLY"), "{error:#}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_server_can_use_files_a_spare_port_and_a_unix_socket() -> Result<()> {
    let options = ServerOptions::new()
        .file("users.acl", "user default on nopass ~* +@all\nuser someone on >secret ~* +get\n")
        .args(["--aclfile", "{folder}/users.acl", "--replica-announce-port", "{spare_port}"])
        .unix_socket();
    for server in fleet(1, options).await? {
        assert!(matches!(server.command(&["ACL", "GETUSER", "someone"]).await?, Reply::Array(_)));
        let announced = server.command(&["CONFIG", "GET", "replica-announce-port"]).await?;
        let spare_port = server.spare_port().unwrap().to_string();
        let pair = ["replica-announce-port", &spare_port].map(|word| Reply::Bulk(word.as_bytes().to_vec()));
        assert_eq!(announced, Reply::Array(pair.to_vec()));
        let socket = server.unix_socket().unwrap();
        std::os::unix::net::UnixStream::connect(&socket)?;
        drop(server);
        assert!(!socket.exists());
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_cannot_start_fails_with_the_end_of_its_log() -> Result<()> {
    let error = fleet(1, ServerOptions::new().args(["--no-such-option", "1"])).await.unwrap_err();
    assert!(text_of(&error).contains("no-such-option"), "{error:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_server_is_gone() -> Result<()> {
    for server in fleet(1, ServerOptions::new()).await? {
        let port = server.port();
        drop(server);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
    Ok(())
}

#[test]
fn without_servers_every_test_here_fails() -> Result<()> {
    let this = "without_servers_every_test_here_fails";
    // `given` without URLs: this run has no servers, whatever the machine has.
    let without = [("REDLOCK_TEST_SERVERS", "given"), ("REDLOCK_TEST_URLS", "")];
    let output = Command::new(env::current_exe()?).args(["servers::", "--skip", this]).envs(without).output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && printed.contains("test result: FAILED. 0 passed"), "{printed}");
    Ok(())
}
