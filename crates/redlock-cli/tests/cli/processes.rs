//! The command's process group.

use crate::stage::{Stage, outcome, state};

#[tokio::test]
async fn what_the_command_leaves_behind_ends_with_it() {
    let stage = Stage::new(3).await;
    let quiet = "</dev/null >/dev/null 2>&1 &";
    let script = format!("sleep 60 {quiet} echo $! > left; exit 6");
    let ended = outcome(stage.run_script("a", &[], &script)).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (6, ""));
    assert_eq!(state(&stage.read("left")), None);

    let script = format!(
        "(trap '' TERM; echo > deaf; exec sleep 60) {quiet} echo $! > left; until [ -s deaf ]; do sleep 0.01; done"
    );
    let ended = outcome(stage.run_script("a", &["--grace", "300ms"], &script)).await;
    assert_eq!(ended.code, 0);
    assert!(ended.stderr.contains("were killed"), "{}", ended.stderr);
    assert_eq!(state(&stage.read("left")), None);
    assert_eq!(stage.holding("a").await, 0);
}

#[tokio::test]
async fn the_command_leads_a_group_of_its_own_unless_it_is_to_be_in_the_foreground() {
    let stage = Stage::new(3).await;
    // The process group, as the kernel tells it, and the process.
    let script = "cut -d' ' -f5 /proc/$$/stat; echo $$";
    for (options, leads) in [(&[][..], true), (&["--foreground"], false)] {
        let outcome = outcome(stage.run_script("a", options, script)).await;
        let told: Vec<_> = outcome.stdout.lines().collect();
        assert_eq!(told[0] == told[1], leads, "{options:?}: {told:?}");
        assert_eq!(outcome.code, 0);
    }
}
