//! Twenty minutes of cron on two hosts, in one minute: jobs of 1 to 70 s, and clocks that differ.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::stage::{Stage, beat, finished, now};

/// The length of a minute in this test.
const MINUTE: Duration = Duration::from_secs(3);

/// The durations of the jobs of each minute, in seconds of a minute that has 60.
const JOBS: [u32; 20] = [1, 40, 70, 10, 25, 1, 49, 65, 5, 40, 40, 70, 70, 1, 30, 49, 2, 70, 20, 40];

/// How many seconds the clock of the second host is late.
const LATE: u32 = 4;

fn seconds(of_sixty: u32) -> Duration {
    MINUTE * of_sixty / 60
}

/// One line of a crontab on one host, in one minute. Times are since 1970.
#[derive(Debug)]
struct Attempt {
    minute: usize,
    name: String,
    spawned: Duration,
    /// When redlock had ended, with any result.
    ended: Duration,
    /// When its job began and ended, if it ran.
    job: Option<(Duration, Duration)>,
}

/// Plays all minutes on two hosts, with the lock that `name` returns for a minute, and the options of the README.
async fn play(stage: &Stage, name: impl Fn(usize) -> String) -> Vec<Attempt> {
    let start = Instant::now();
    let mut attempts = JoinSet::new();
    let at_least = format!("{}ms", seconds(50).as_millis());
    for (minute, job) in JOBS.into_iter().enumerate() {
        for late in [0, LATE] {
            sleep_until(start + MINUTE * u32::try_from(minute).unwrap() + seconds(late)).await;
            let name = name(minute);
            let log = format!("{name}-{minute}-{late}");
            let script = format!("date +%s%N > {log}; sleep {}; date +%s%N >> {log}", seconds(job).as_secs_f64());
            let options = ["--at-least", &at_least, "-E", "0", "-q"];
            let spawned = now();
            let child = stage.attempt(&name, &options, &["sh", "-c", &script]).spawn().unwrap();
            let log = stage.file(&log);
            attempts.spawn(async move {
                let outcome = finished(child).await;
                assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "minute {minute}");
                let log = std::fs::read_to_string(log).ok();
                let job = log.map(|log| log.split_once('\n').map(|(begun, ended)| (beat(begun), beat(ended))).unwrap());
                Attempt { minute, name, spawned, ended: now(), job }
            });
        }
    }
    attempts.join_all().await
}

/// Returns the number of runs of each minute.
///
/// On a machine that stalls for a second, a host may start so late that its minute is over, and a job may end too late
/// for the next one. That is not a fault of the lock, so this checks only for violations of the lock's guarantees.
fn judge(attempts: &[Attempt]) -> [usize; JOBS.len()] {
    let mut runs = [0; JOBS.len()];
    let mut jobs: Vec<_> = attempts.iter().filter_map(|attempt| Some((attempt.job?, attempt))).collect();
    jobs.sort_by_key(|(job, _)| *job);
    for (index, ((_, ended), holder)) in jobs.iter().enumerate() {
        runs[holder.minute] += 1;
        // It got its lock after it was spawned, and held it for at least 50 s, and until its job had ended.
        let mut next = jobs[index + 1..].iter().filter(|(_, next)| next.name == holder.name);
        if let Some(((begun, _), next)) = next.next() {
            let is_free = *begun >= holder.spawned + seconds(50) && begun >= ended;
            assert!(is_free, "two held the lock: {holder:?}, {next:?}");
        }
    }
    for (minute, runs) in runs.iter().enumerate() {
        let of_minute = || attempts.iter().filter(|attempt| attempt.minute == minute);
        let begun = of_minute().map(|attempt| attempt.spawned).min().unwrap();
        let is_held = |holder: &Attempt| {
            holder.job.is_some() && holder.ended > begun && of_minute().all(|attempt| attempt.name == holder.name)
        };
        let is_skipped = *runs > 0 || attempts.iter().any(|holder| holder.minute < minute && is_held(holder));
        assert!(is_skipped, "minute {minute} ran nowhere, although the lock was free: {attempts:?}");
    }
    runs
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hosts_exactly_one_runs_each_minute_unless_the_last_job_still_runs() {
    let stage = Stage::new(3).await;
    let (alone, overlapping) =
        tokio::join!(play(&stage, |_| "report".to_owned()), play(&stage, |minute| format!("minute-{minute}")));
    let once = |attempts: &[Attempt]| judge(attempts).into_iter().filter(|runs| *runs == 1).count();
    // Each job of more than 60 s costs the next minute.
    let (alone, overlapping) = (once(&alone), once(&overlapping));
    assert!((10..=17).contains(&alone) && overlapping >= 18, "{alone} and {overlapping} of {} minutes", JOBS.len());
}
