//! `redlock run` when everything works, and when the command is not started.

use std::{os::unix::fs::PermissionsExt as _, process::Stdio, time::Duration};

use redlock_tests::servers::Server;
use tokio::{io::AsyncWriteExt as _, time::Instant};

use crate::stage::{Stage, bare, finished, now, outcome, send, until_handled};

#[tokio::test]
async fn standard_input_and_output_are_the_command_s() {
    let stage = Stage::new(3).await;
    // More than fits into any pipe.
    let bytes: String = (0..200_000).map(|number| format!("{number}\n")).collect();
    let mut child = stage.run_script("a", &[], "cat; echo to stderr >&2").stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sent = bytes.clone();
    let writing = tokio::spawn(async move { stdin.write_all(sent.as_bytes()).await.unwrap() });
    let outcome = finished(child).await;
    writing.await.unwrap();
    assert!(outcome.stdout == bytes, "{} bytes of {}", outcome.stdout.len(), bytes.len());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, "to stderr\n"));
    assert_eq!(stage.holding("a").await, 0);
}

#[tokio::test]
async fn the_command_s_exit_code_is_redlock_s() {
    let stage = Stage::new(3).await;
    for (script, code) in
        [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -KILL $$", 137), ("kill -INT $$", 130)]
    {
        assert_eq!(outcome(stage.run_script("a", &[], script)).await.code, code, "{script}");
        assert_eq!(stage.holding("a").await, 0, "{script}");
    }
}

#[tokio::test]
async fn a_command_that_cannot_be_run_is_told_as_by_a_shell() {
    let stage = Stage::new(3).await;
    std::fs::write(stage.file("plain"), "no program").unwrap();
    let found_not = outcome(stage.run("a", &[], &["no-such-command"])).await;
    assert_eq!((found_not.code, found_not.stderr.contains("no-such-command: command not found")), (127, true));
    // Only a command with a path is searched for in the current folder.
    std::fs::write(stage.file("no-such-command"), "").unwrap();
    let found_not = outcome(stage.run("a", &[], &["no-such-command"])).await;
    assert_eq!((found_not.code, found_not.stderr.contains("no-such-command: command not found")), (127, true));
    let executable_not = outcome(stage.run("a", &[], &["./plain"])).await;
    assert_eq!((executable_not.code, executable_not.stderr.contains("cannot be executed")), (126, true));
    assert_eq!(stage.holding("a").await, 0);
}

#[tokio::test]
async fn a_script_runs_as_under_env_and_what_it_lacks_is_named() {
    let stage = Stage::new(3).await;
    let script = |name: &str, text: &str| {
        std::fs::write(stage.file(name), text).unwrap();
        std::fs::set_permissions(stage.file(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("plain", "echo \"$1 $REDLOCK_RESOURCE\"; exit 3");
    let by_path = outcome(stage.run("a", &[], &["./plain", "x y"])).await;
    assert_eq!((by_path.code, by_path.stdout.as_str()), (3, "x y a\n"), "{}", by_path.stderr);
    let mut by_name = stage.run("a", &[], &["plain", "x y"]);
    let path = format!("{}:{}", stage.file(".").display(), std::env::var("PATH").unwrap());
    by_name.env("PATH", path);
    let by_name = outcome(by_name).await;
    assert_eq!((by_name.code, by_name.stdout.as_str()), (3, "x y a\n"), "{}", by_name.stderr);

    script("lacks", "#!/no/such/interpreter -x\n");
    script("windows", "#!/bin/sh\r\necho\r\n");
    script("foreign", "\x7fELF\0\0\0\0of another machine");
    for (name, what) in [
        ("./lacks", "its interpreter \"/no/such/interpreter\" was not found"),
        ("./windows", "its interpreter \"/bin/sh\\r\" was not found"),
        ("./foreign", "Exec format error"),
    ] {
        let told = outcome(stage.run("a", &[], &[name])).await;
        assert!(told.code == 126 && told.stderr.contains(what), "{}: {}", told.code, told.stderr);
    }
    assert_eq!(stage.holding("a").await, 0);
}

#[tokio::test]
async fn bad_usage_is_125_and_nothing_is_run() {
    let stage = Stage::new(3).await;
    for (options, what) in [
        (&["--ttl", "30"][..], "give a number and a unit"),
        (&["--ttl", "999ms"], "leaves no time to end the command"),
        (&["--ttl", "10s", "--grace", "5s"], "leaves no time for extends"),
        (&["--ttl", "8d"], "604800"),
        (&["--max-lifetime", "2s", "--ttl", "3s"], "longest lifetime"),
        (&["--at-least", "2h", "--max-lifetime", "1h"], "longer than --max-lifetime"),
        (&["--nodes", "http://a"], "scheme"),
        (&["--nodes", "redis://a,redis://a"], "given twice"),
        (&["--config", "nowhere.toml"], "cannot read the configuration file nowhere.toml"),
        (&["--no-such-option"], "--no-such-option"),
    ] {
        let mut command = stage.redlock([&["run", "a"], options, &["--", "touch", "ran"]].concat());
        command.kill_on_drop(true);
        let outcome = outcome(command).await;
        assert_eq!(outcome.code, 125, "{options:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(what), "{options:?}: {}", outcome.stderr);
        assert!(!stage.file("ran").exists());
    }
    let nowhere = outcome(bare(["run", "a", "--", "true"])).await;
    assert_eq!(nowhere.code, 125);
    assert!(nowhere.stderr.contains("set REDLOCK_NODES="), "{}", nowhere.stderr);
}

#[tokio::test]
async fn without_a_quorum_the_command_is_not_run() {
    let stage = Stage::new(3).await;
    for server in &stage.servers[1..] {
        server.stop().await.unwrap();
    }
    for options in [&["--try"][..], &["--wait", "3s"]] {
        let outcome = outcome(stage.run("a", options, &["touch", "ran"])).await;
        assert_eq!(outcome.code, 122, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("unreachable"), "{}", outcome.stderr);
    }
    assert!(!stage.file("ran").exists());
}

#[tokio::test]
async fn a_minority_may_be_down() {
    let stage = Stage::new(3).await;
    stage.servers[0].stop().await.unwrap();
    let outcome = outcome(stage.attempt("a", &[], &["echo", "ran"])).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "ran\n"));
}

#[tokio::test]
async fn the_command_is_told_of_its_lock() {
    let stage = Stage::new(3).await;
    let script = "echo \"$REDLOCK_RESOURCE|$REDLOCK_TOKEN|$REDLOCK_VALID_UNTIL|$REDLOCK_FENCING_TOKEN\"; sleep 1";
    let mut command = stage.run_script("the name", &["--owner", "someone"], script);
    // The token of a lock around this one must not be passed on.
    command.env("REDLOCK_FENCING_TOKEN", "7");
    let child = command.spawn().unwrap();
    stage.until_held("the name").await;
    let key = stage.servers[0].command(&["GET", "the name"]).await.unwrap().text().unwrap();
    let outcome = finished(child).await;
    let told: Vec<_> = outcome.stdout.trim_end_matches('\n').split('|').collect();
    assert_eq!(&told[..2], ["the name", key.as_str()]);
    assert!(key.ends_with(":someone"), "{key}");
    let until: u64 = told[2].parse().unwrap();
    assert!((now().as_secs() - 2..=now().as_secs() + 3).contains(&until), "{until} {:?}", now());
    assert_eq!(told[3], "");
}

#[tokio::test]
async fn fencing_tokens_grow_from_one_run_to_the_next() {
    let stage = Stage::new(3).await;
    let mut last = 0;
    for _ in 0..3 {
        let outcome = outcome(stage.run_script("a", &["--fencing"], "echo $REDLOCK_FENCING_TOKEN")).await;
        let token: u64 = outcome.stdout.trim().parse().unwrap();
        assert!(token > last, "{token} after {last}");
        last = token;
    }
}

#[tokio::test]
async fn who_finds_it_locked_does_not_run_and_says_so_by_a_code_of_its_choice() {
    let stage = Stage::new(3).await;
    let holder = stage.run_script("a", &[], "sleep 16").spawn().unwrap();
    stage.until_held("a").await;
    for (options, code, says) in [
        (&["--try"][..], 120, true),
        (&["--wait", "2s"], 120, true),
        (&["--try", "-E", "0"], 0, true),
        (&["--try", "-E", "75", "-q"], 75, false),
    ] {
        let began = Instant::now();
        let run = ["run", "a", "--node-timeout", "1s"];
        let outcome = outcome(stage.redlock([&run[..], options, &["--", "touch", "ran"]].concat())).await;
        assert_eq!(outcome.code, code, "{options:?}: {}", outcome.stderr);
        assert_eq!(outcome.stderr.contains("held by"), says, "{options:?}: {}", outcome.stderr);
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    }
    assert!(!stage.file("ran").exists());
    // Another name is free.
    assert_eq!(outcome(stage.attempt("b", &[], &["true"])).await.code, 0);
    assert_eq!(finished(holder).await.code, 0);
}

#[tokio::test]
async fn the_holder_is_named_and_the_nodes_only_if_that_is_wanted() {
    let stage = Stage::new(3).await;
    let holder = stage.run("a", &["--owner", "web-3"], &["sleep", "60"]).spawn().unwrap();
    stage.until_held("a").await;
    let told = outcome(stage.attempt("a", &[], &["true"])).await;
    let line = told.stderr.strip_prefix("redlock: lock \"a\" is held by web-3 (").unwrap_or_else(|| panic!("{told:?}"));
    assert!(line.ends_with(" left)\n") && told.stderr.lines().count() == 1, "{told:?}");
    let told = outcome(stage.attempt("a", &["-v"], &["true"])).await;
    let port = stage.servers[0].port().to_string();
    assert!(told.stderr.contains("is held by web-3 (") && told.stderr.contains(&port), "{told:?}");

    // By default it waits until the lock is free, and reports the holder.
    let mut waiter = stage.run("a", &[], &["echo", "ran"]);
    let waiter = waiter.stderr(stage.log("log")).spawn().unwrap();
    stage.until_said("log", "redlock: waiting: lock \"a\" is held by web-3 (").await;
    send(&holder, "TERM");
    assert_eq!(finished(holder).await.code, 143);
    let waited = finished(waiter).await;
    assert_eq!((waited.code, waited.stdout.as_str()), (0, "ran\n"), "{}", stage.read("log"));
}

#[tokio::test]
async fn who_waits_runs_when_the_holder_has_ended() {
    let stage = Stage::new(3).await;
    let holder = stage.run_script("a", &[], "sleep 1; date +%s%N > ended").spawn().unwrap();
    stage.until_held("a").await;
    let waiter = outcome(stage.run_script("a", &["--wait", "20s"], "date +%s%N")).await;
    assert_eq!(waiter.code, 0, "{}", waiter.stderr);
    assert_eq!(finished(holder).await.code, 0);
    let (began, ended): (u128, u128) =
        (waiter.stdout.trim().parse().unwrap(), stage.read("ended").trim().parse().unwrap());
    assert!(began > ended);
}

#[tokio::test]
async fn the_lock_is_kept_for_as_long_as_the_command_runs() {
    let stage = Stage::new(3).await;
    let holder = stage.run_script("a", &[], "sleep 7").spawn().unwrap();
    stage.until_held("a").await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        let rival = outcome(stage.attempt("a", &["-q"], &["true"])).await;
        assert_eq!(rival.code, 120, "after {:?}: {}", began.elapsed(), rival.stderr);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(finished(holder).await.code, 0);
    assert_eq!(stage.holding("a").await, 0);
}

#[tokio::test]
async fn a_lifetime_that_is_over_ends_the_command_while_the_lock_is_valid() {
    let stage = Stage::new(3).await;
    let began = Instant::now();
    let command =
        stage.run_script("a", &["--max-lifetime", "5s"], "trap 'echo told; exit 0' TERM; while :; do sleep 0.1; done");
    let outcome = outcome(command).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (124, "told\n"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--max-lifetime is over"), "{}", outcome.stderr);
    assert!((Duration::from_secs(3)..Duration::from_secs(5)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn events_are_told_as_json_on_standard_error() {
    let stage = Stage::new(3).await;
    let told = outcome(stage.run("a", &["--json", "--fencing"], &["echo", "x"])).await;
    let events: Vec<serde_json::Value> = told.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["acquired", "released", "ended"], "{}", told.stderr);
    assert!(events[0]["valid_ms"].as_u64().unwrap() <= 3000 && events[0]["fencing_token"].as_u64().is_some());
    assert_eq!((events[2]["exit_code"].as_u64(), told.stdout.as_str()), (Some(0), "x\n"));

    let told = outcome(stage.run("a", &["--verbose"], &["true"])).await.stderr;
    assert!(told.contains("redlock: acquired \"a\"") && told.contains("redlock: released \"a\""), "{told}");
    let told = outcome(stage.run("a", &["-vv"], &["true"])).await.stderr;
    let told_by_library = |line: &str| line.contains(" DEBUG ") && line.contains(" redlock_core::");
    assert!(told.lines().any(told_by_library), "{told}");

    for server in &stage.servers {
        server.stop().await.unwrap();
    }
    let failed = outcome(stage.run("a", &["--json", "--try"], &["true"])).await;
    let event: serde_json::Value = serde_json::from_str(failed.stderr.trim()).unwrap();
    assert_eq!((event["event"].as_str(), event["exit_code"].as_u64()), (Some("failed"), Some(122)));
}

const NO_LOSS: &str = "redlock_losses_total{resource=\"a\"} 0";

#[tokio::test]
async fn runs_and_skips_are_counted_in_a_file() {
    let stage = Stage::new(3).await;
    let counted = ["--metrics-file", "redlock.prom"];
    // The last one is the code that redlock itself uses for a loss.
    for code in [0, 3, 121] {
        let ran = outcome(stage.run_script("a", &counted, &format!("exit {code}"))).await;
        assert_eq!(ran.code, code, "{}", ran.stderr);
    }
    let holder = stage.run("a", &[], &["sleep", "60"]).spawn().unwrap();
    stage.until_held("a").await;
    assert_eq!(outcome(stage.attempt("a", &counted, &["true"])).await.code, 120);
    let text = stage.read("redlock.prom");
    for line in ["redlock_runs_total{resource=\"a\"} 3", "redlock_skips_total{resource=\"a\"} 1", NO_LOSS] {
        assert!(text.lines().any(|there| there == line), "{line}: {text}");
    }
    let held = text.lines().find_map(|line| line.strip_prefix("redlock_held_seconds_total{resource=\"a\"} "));
    assert!(held.unwrap().parse::<f64>().unwrap() > 0.0, "{text}");
    drop(holder);

    let told = outcome(stage.run_script("b", &["--metrics-file", "no/such/folder.prom"], "exit 3")).await;
    assert!(told.code == 3 && told.stderr.contains("cannot write the metrics"), "{told:?}");
}

#[tokio::test]
async fn with_jitter_the_lock_is_asked_for_later_and_a_signal_ends_that_wait() {
    let stage = Stage::new(3).await;
    let told = outcome(stage.run("a", &["--jitter", "20ms"], &["echo", "ran"])).await;
    assert_eq!((told.code, told.stdout.as_str()), (0, "ran\n"), "{}", told.stderr);
    let waiting = stage.run("a", &["--jitter", "1000h"], &["touch", "ran"]).spawn().unwrap();
    until_handled(waiting.id().unwrap(), 15).await;
    send(&waiting, "TERM");
    assert_eq!(finished(waiting).await.code, 143);
    assert!(!stage.file("ran").exists());
}

#[tokio::test]
async fn all_that_the_file_says_is_heeded() {
    let stage = Stage::new(3).await;
    let urls: Vec<_> = stage.servers.iter().map(|server| format!("{:?}", Server::url(server))).collect();
    let text = format!(
        "nodes = [{}]\nkey_prefix = \"lock:\"\nnode_timeout = \"250ms\"\nowner = \"billing\"\n",
        urls.join(", ")
    );
    std::fs::write(stage.file("redlock.toml"), text).unwrap();
    let command = ["run", "a", "--", "sleep", "2"];
    let mut by_variable = bare(command);
    by_variable.env("REDLOCK_CONFIG", stage.file("redlock.toml"));
    let file = stage.file("redlock.toml");
    let by_option = bare([&["run", "--config", file.to_str().unwrap()], &command[1..]].concat());
    for mut command in [by_variable, by_option] {
        let child = command.spawn().unwrap();
        stage.until_held("lock:a").await;
        let key = stage.servers[0].command(&["GET", "lock:a"]).await.unwrap().text().unwrap();
        assert!(key.ends_with(":billing"), "{key}");
        assert_eq!(finished(child).await.code, 0);
    }
    // The command line takes precedence.
    let mut command = bare(["run", "a", "--key-prefix", "p:", "--owner", "me", "--", "sleep", "2"]);
    command.env("REDLOCK_CONFIG", file);
    let child = command.spawn().unwrap();
    stage.until_held("p:a").await;
    assert!(stage.servers[0].command(&["GET", "p:a"]).await.unwrap().text().unwrap().ends_with(":me"));
    assert_eq!(finished(child).await.code, 0);
}

#[tokio::test]
async fn a_guard_in_the_file_keeps_new_nodes_in_quarantine() {
    let stage = Stage::new(3).await;
    std::fs::write(stage.file("redlock.toml"), "restart_guard = \"6s\"\n").unwrap();
    let guarded = ["--config", "redlock.toml"];
    // A round that a timeout cuts short, or one with late nodes, does not report the quarantine.
    let mut early = outcome(stage.run("a", &[&guarded[..], &["--try"]].concat(), &["true"])).await;
    while early.code == 122 && early.stderr.contains("did not answer") && !early.stderr.contains("in quarantine") {
        early = outcome(stage.run("a", &[&guarded[..], &["--try"]].concat(), &["true"])).await;
    }
    assert!(early.code != 0 && early.stderr.contains("in quarantine"), "{}: {}", early.code, early.stderr);
    let late = outcome(stage.run("a", &[&guarded[..], &["--wait", "20s"]].concat(), &["true"])).await;
    assert_eq!(late.code, 0, "{}", late.stderr);
}

#[cfg(feature = "fred")]
#[tokio::test]
async fn the_other_client_does_the_same() {
    let stage = Stage::new(3).await;
    let holder = stage.run_script("a", &["--client", "fred"], "sleep 4; exit 7").spawn().unwrap();
    stage.until_held("a").await;
    for client in ["fred", "redis-rs"] {
        assert_eq!(outcome(stage.attempt("a", &["--client", client], &["true"])).await.code, 120);
    }
    assert_eq!(finished(holder).await.code, 7);
    assert_eq!(stage.holding("a").await, 0);
}
