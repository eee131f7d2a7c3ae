//! Arguments for nodes and times, and errors for output that cannot be written.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    process::Stdio,
};

use redlock_tests::servers::Server;
use tokio::io::AsyncReadExt as _;

use crate::stage::{Stage, bare, finished, outcome};

#[tokio::test]
async fn urls_stand_between_commas_and_white_space_however_many() {
    let stage = Stage::new(3).await;
    let urls: Vec<_> = stage.servers.iter().map(Server::url).collect();
    for between in [",", " ", ", ", ",,", "\n", " \t\n"] {
        let nodes = format!("{between}{}{between}", urls.join(between));
        let mut by_variable = bare(["status", "a"]);
        by_variable.env("REDLOCK_NODES", &nodes);
        for told in [outcome(by_variable).await, outcome(bare(["status", "a", "--nodes", &nodes])).await] {
            assert_eq!(told.code, 1, "{between:?}: {}", told.stderr);
            assert!(told.stdout.contains("3 of 3 nodes answered"), "{between:?}: {}", told.stdout);
        }
    }
}

#[tokio::test]
async fn a_comma_between_the_hosts_of_one_url_ends_no_url() {
    let stage = Stage::new(2).await;
    let sentinels = "redis+sentinel://:hunter2@127.0.0.1:1,127.0.0.1:2/mymaster?sentinel_password=hunter3";
    for nodes in [format!("{sentinels},{}", stage.nodes()), format!("{} {sentinels}", stage.nodes())] {
        let mut by_variable = bare(["status", "a"]);
        by_variable.env("REDLOCK_NODES", &nodes);
        for told in [outcome(by_variable).await, outcome(bare(["status", "a", "--nodes", &nodes])).await] {
            assert_eq!(told.code, 1, "{}", told.stderr);
            assert!(told.stdout.contains("2 of 3 nodes answered"), "{}", told.stdout);
            assert!(told.stdout.contains("127.0.0.1:1,127.0.0.1:2/mymaster"), "{}", told.stdout);
            assert!(!told.stdout.contains("hunter"), "{}", told.stdout);
        }
    }
    let file = stage.file("redlock.toml");
    fs::write(&file, format!("nodes = [{:?}, {sentinels:?}]\n", stage.servers[0].url())).unwrap();
    let told = outcome(bare(["status", "a", "--config"].map(OsStr::new).into_iter().chain([file.as_os_str()]))).await;
    assert!(told.stdout.contains("1 of 2 nodes answered"), "{told:?}");

    for (url, what) in [
        ("redis+sentinel://:hunter2@a,b", "there is no service"),
        ("redis+sentinel://:hunter2@/mymaster", "host"),
        ("redis-clusters://:hunter2@a,b", "the scheme is not one of"),
    ] {
        let told = outcome(bare(["status", "a", "--nodes", url])).await;
        assert!(told.code == 125 && told.stderr.contains(what), "{url}: {told:?}");
        assert!(!told.stderr.contains("hunter2"), "{told:?}");
    }
}

#[tokio::test]
async fn quotes_around_the_urls_are_left_out() {
    let stage = Stage::new(3).await;
    for quote in ["\"", "'"] {
        let mut command = bare(["status", "a"]);
        command.env("REDLOCK_NODES", format!("{quote}{}{quote}", stage.nodes()));
        let told = outcome(command).await;
        assert!(told.stdout.contains("3 of 3 nodes answered"), "{quote}: {told:?}");
    }
}

#[tokio::test]
async fn a_configuration_file_that_others_may_write_is_refused() {
    let stage = Stage::new(1).await;
    let file = stage.file("redlock.toml");
    fs::write(&file, format!("nodes = [{:?}]\n", stage.servers[0].url())).unwrap();
    for (mode, code) in [(0o602, 125), (0o646, 125), (0o664, 125), (0o620, 125), (0o644, 1), (0o600, 1)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let told = outcome(stage.redlock(["status", "a", "--config", "redlock.toml"])).await;
        assert_eq!(
            (told.code, told.stderr.contains("other users can write")),
            (code, code == 125),
            "{mode:o}: {told:?}"
        );
    }
}

#[tokio::test]
async fn a_command_needs_no_dashes_before_it() {
    let stage = Stage::new(3).await;
    let told = outcome(stage.redlock([
        "run",
        "--try",
        "a",
        "--node-timeout",
        "2s",
        "sh",
        "-c",
        "echo $0 $1",
        "-x",
        "--",
        "-y",
    ]));
    let told = told.await;
    assert_eq!((told.code, told.stdout.as_str()), (0, "-x --\n"), "{}", told.stderr);
}

#[tokio::test]
async fn nodes_that_are_named_and_cannot_be_read_are_not_passed_over() {
    let stage = Stage::new(1).await;
    fs::write(stage.file("redlock.toml"), format!("nodes = [{:?}]\n", stage.servers[0].url())).unwrap();
    let from_file = ["status", "a", "--config", "redlock.toml"];
    let mut file = bare(from_file);
    file.current_dir(stage.file("."));
    assert_eq!(outcome(file).await.code, 1);

    let mut variable = bare(from_file);
    variable.current_dir(stage.file(".")).env("REDLOCK_NODES", OsStr::from_bytes(b"redis://\xff"));
    let told = outcome(variable).await;
    assert!(told.code == 125 && told.stderr.contains("not UTF-8"), "{}: {}", told.code, told.stderr);

    for empty in [",", " ", "''"] {
        let mut variable = bare(from_file);
        variable.current_dir(stage.file(".")).env("REDLOCK_NODES", empty);
        let told = outcome(variable).await;
        assert!(told.code == 125 && told.stderr.contains("no nodes are named"), "{}: {}", told.code, told.stderr);
    }

    // If an option is empty, for example because its variable is not set, no other nodes are used instead.
    for empty in ["", ",", " "] {
        let told = outcome(stage.redlock(["status", "a", "--nodes", empty])).await;
        assert!(told.code == 125 && told.stderr.contains("no nodes are named"), "{}: {}", told.code, told.stderr);
    }
}

#[tokio::test]
async fn no_time_to_wait_is_one_try() {
    let stage = Stage::new(3).await;
    for zero in ["0s", "0"] {
        let free =
            outcome(stage.redlock(["run", "a", "--node-timeout", "2s", "--wait", zero, "--", "echo", "ran"])).await;
        assert_eq!((free.code, free.stdout.as_str()), (0, "ran\n"), "{}", free.stderr);
    }
    let holder = stage.run("a", &[], &["sleep", "3"]).spawn().unwrap();
    stage.until_held("a").await;
    let held = outcome(stage.redlock(["run", "a", "--node-timeout", "2s", "--wait", "0s", "--", "echo", "ran"])).await;
    assert_eq!((held.code, held.stdout.as_str()), (120, ""), "{}", held.stderr);
    assert_eq!(finished(holder).await.code, 0);
}

#[tokio::test]
async fn output_for_which_there_is_no_room_is_a_failure_and_output_that_nobody_reads_is_none() {
    let stage = Stage::new(3).await;
    for task in [&["status", "a"][..], &["status", "a", "--json"], &["doctor"], &["watch", "a"], &["man"]] {
        let mut full = stage.redlock(task);
        full.stdout(File::create("/dev/full").unwrap());
        let told = outcome(full).await;
        assert!(
            told.code == 125 && told.stderr.contains("cannot be written"),
            "{task:?} {}: {}",
            told.code,
            told.stderr
        );
    }
    // As with `| head -1`, the reader is gone when the next line comes.
    let mut watch = stage.redlock(["watch", "a", "--every", "100ms", "--json"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = watch.stdout.take().unwrap();
    reader.read_u8().await.unwrap();
    drop(reader);
    let changed = outcome(stage.run("a", &[], &["sleep", "1"])).await;
    assert_eq!(changed.code, 0, "{}", changed.stderr);
    let told = finished(watch).await;
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
}
