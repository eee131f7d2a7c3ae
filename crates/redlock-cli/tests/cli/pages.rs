//! Help, completions and the manual.

use crate::stage::{bare, outcome, program};

#[tokio::test]
async fn completions_are_there_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = outcome(bare(["completions", shell])).await;
        assert_eq!(script.code, 0);
        for word in ["redlock", "doctor", "max-lifetime", "conflict-exit-code"] {
            assert!(script.stdout.contains(word), "{shell} does not know {word}");
        }
    }
    let script = format!("eval \"$({} completions bash)\"", program());
    let syntax = tokio::process::Command::new("bash").args(["-c", &script]).output().await.unwrap();
    assert!(syntax.status.success(), "{syntax:?}");
}

#[tokio::test]
async fn the_manual_and_the_help_say_the_same() {
    for task in ["run", "doctor", "status", "watch", "acquire", "extend", "release"] {
        let (page, help) = (outcome(bare(["man", task])).await, outcome(bare([task, "--help"])).await);
        assert_eq!((page.code, help.code), (0, 0));
        let (page, help) = (page.stdout.replace('\\', ""), help.stdout);
        for option in help.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2) {
            let option = option.trim_end_matches(|c: char| !c.is_alphanumeric());
            assert!(page.contains(option), "{task}: the manual does not know {option}");
        }
    }
    let page = outcome(bare(["man"])).await;
    assert!(page.code == 0 && page.stdout.contains("REDLOCK_NODES"), "{}", page.stdout);
    assert_eq!(outcome(bare(["man", "no-such-page"])).await.code, 125);
}

#[tokio::test]
async fn help_is_no_failure_and_bad_usage_is_125() {
    let help = outcome(bare(["--help"])).await;
    assert!(help.code == 0 && help.stdout.contains("Exit codes") && help.stderr.is_empty());
    assert!(!help.stdout.contains('\x1b'), "there are colors in a pipe");
    let version = outcome(bare(["--version"])).await;
    assert_eq!((version.code, version.stdout), (0, format!("redlock {}\n", env!("CARGO_PKG_VERSION"))));
    for wrong in [&["no-such-task"][..], &["status"], &[]] {
        let outcome = outcome(bare(wrong)).await;
        assert!(
            outcome.code == 125 && outcome.stdout.is_empty() && !outcome.stderr.is_empty(),
            "{wrong:?}: {outcome:?}"
        );
    }
}
