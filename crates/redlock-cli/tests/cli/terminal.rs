//! A command at a terminal, which script(1) provides.

use std::{fs, process::Stdio, time::Duration};

use tokio::{io::AsyncWriteExt as _, process::Command, time::sleep};

use crate::stage::{Outcome, Stage, finished, program};

/// Runs the program at a terminal, with a script as its command. Types each word of the input when the script has
/// written that file.
async fn at_terminal(stage: &Stage, run: &str, script: &str, typed: &[(&str, &str)]) -> Outcome {
    from(stage, "/dev/tty", run, script, typed).await
}

/// Does the same with another standard input.
async fn from(stage: &Stage, input: &str, run: &str, script: &str, typed: &[(&str, &str)]) -> Outcome {
    fs::write(stage.file("job.sh"), script).unwrap();
    // A shell in between would get the signals of the keyboard too, and end as if the program had been ended by them.
    let line = format!("exec {} {run} -- sh job.sh < {input}", program());
    let mut terminal = Command::new("env");
    terminal
        .args(["--default-signal", "script", "-qec", &line, "/dev/null"])
        .env("REDLOCK_NODES", stage.nodes())
        .env("SHELL", "/bin/sh")
        .current_dir(stage.file("."));
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = terminal.spawn().unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    for (file, words) in typed {
        stage.until_written(file).await;
        keyboard.write_all(words.as_bytes()).await.unwrap();
    }
    let outcome = finished(child).await;
    drop(keyboard);
    outcome
}

#[tokio::test]
async fn in_the_foreground_a_command_reads_from_the_terminal() {
    let stage = Stage::new(3).await;
    let script = "echo > ready; read word < /dev/tty; echo \"got $word\"; exit 4";
    let told = at_terminal(&stage, "run a --foreground", script, &[("ready", "hello\n")]).await;
    assert!(told.code == 4 && told.stdout.contains("got hello"), "{told:?}");
}

#[tokio::test]
async fn an_interrupt_from_the_keyboard_reaches_the_command_once() {
    let stage = Stage::new(3).await;
    let script = "trap 'echo >> interrupts' INT; trap 'echo >> passed-on' CONT; echo > ready; for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2; done; exit 5";
    // redlock sends SIGCONT after each signal that it forwards, which distinguishes these from signals of the terminal.
    for (options, input, passed_on) in [
        ("run a", "/dev/tty", "\n"),
        ("run a", "/dev/null", "\n"),
        ("run a --foreground", "/dev/tty", ""),
        ("run a --foreground", "/dev/null", ""),
    ] {
        let told = from(&stage, input, options, script, &[("ready", "\x03")]).await;
        assert_eq!((told.code, stage.read("interrupts").as_str()), (5, "\n"), "{options} < {input}: {told:?}");
        assert_eq!(stage.read("passed-on"), passed_on, "{options} < {input}");
        let _ = fs::remove_file(stage.file("passed-on"));
        fs::remove_file(stage.file("interrupts")).unwrap();
        fs::remove_file(stage.file("ready")).unwrap();
    }
}

#[tokio::test]
async fn in_the_background_a_command_that_wants_the_terminal_can_be_interrupted_all_the_same() {
    let stage = Stage::new(3).await;
    let typing = async {
        stage.until_written("ready").await;
        sleep(Duration::from_millis(1500)).await;
        fs::write(stage.file("stopped"), "by now").unwrap();
    };
    let script = "echo > ready; read word < /dev/tty";
    let (told, ()) = tokio::join!(at_terminal(&stage, "run a", script, &[("stopped", "\x03")]), typing);
    assert!(told.code == 130 && told.stdout.contains("use --foreground"), "{told:?}");
    assert_eq!(stage.holding("a").await, 0);
}
