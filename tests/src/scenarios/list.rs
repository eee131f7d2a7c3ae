//! Listing all locks that are held.

use std::time::Duration;

use redlock_core::{NodeErrorKind, Owner, Redlock};

use crate::{
    lab::{Lab, eventually},
    servers::ServerOptions,
};

const TTL: Duration = Duration::from_secs(30);

/// The value of a key that is a lock.
const TOKEN: &str = "5f0c6c1be1c8b4b4e0d7f3c2a1908f7e6d5c4b3a";

async fn names(redlock: &Redlock) -> Vec<String> {
    redlock.list().await.unwrap().names().map(str::to_owned).collect()
}

pub(super) async fn a_listing_names_all_locks_and_nothing_else(lab: &Lab) {
    // A prefix that would be a pattern.
    let builder = lab.builder(3).key_prefix("*[a]?:");
    let redlock = builder.owner(Owner::new("web-3").unwrap()).fencing(true).build().unwrap();
    assert_eq!(names(&redlock).await, [""; 0]);
    let mut held = Vec::new();
    for name in ["b c", "a", "ü\n"] {
        held.push(redlock.acquire(name, TTL).await.unwrap());
        lab.until_held_by(3, &format!("*[a]?:{name}")).await;
    }
    // A key with another prefix, a value that is not a token, and a key that is not a string.
    lab.set(0, "xax:elsewhere", TOKEN, None).await;
    lab.set(0, "*[a]?:number", "42", None).await;
    lab.set_list(1, "*[a]?:list").await;
    // Held by one node, but by no quorum.
    lab.set(2, "*[a]?:half", TOKEN, Some(TTL)).await;

    let listing = redlock.list().await.unwrap();
    assert_eq!(listing.names().collect::<Vec<_>>(), ["a", "b c", "half", "ü\n"]);
    assert!(listing.is_complete() && listing.failed().next().is_none());
    assert_eq!(names(&lab.redlock(3)).await.len(), 5, "without a prefix, the names are the keys");

    for lock in held {
        let _ = lock.release().await.unwrap();
    }
    redlock.close().await.unwrap();
    assert_eq!(names(&redlock).await, ["half"], "counters are not listed as locks");
}

pub(super) async fn a_listing_is_incomplete_without_a_quorum_of_answers(lab: &Lab) {
    let redlock = lab.redlock(3);
    let _lock = redlock.acquire("r", TTL).await.unwrap();
    lab.until_held_by(3, "r").await;
    lab.stop(0).await;
    let listing = redlock.list().await.unwrap();
    assert!(listing.is_complete() && listing.names().eq(["r"]));
    assert_eq!(listing.failed().count(), 1);
    lab.stop(1).await;
    let listing = redlock.list().await.unwrap();
    assert!(!listing.is_complete() && listing.names().eq(["r"]));
    assert_eq!(listing.failed().count(), 2);
}

pub(super) async fn locks_are_found_among_many_other_keys(lab: &Lab) {
    let fill = "for i = 1, 2000 do redis.call('SET', 'other' .. i, i) end";
    let server = lab.site(0);
    server.command(&["EVAL", fill, "0"]).await.unwrap();
    let fill = "for i = 1, 500 do redis.call('SET', 'lock' .. i, ARGV[1], 'PX', 60000) end";
    server.command(&["EVAL", fill, "0", TOKEN]).await.unwrap();
    // A listing may take 4 s, and reports that it is incomplete if a busy machine takes longer.
    let is_whole = async || {
        let listing = lab.redlock(1).list().await.unwrap();
        assert!(listing.names().all(|name| name.starts_with("lock")));
        listing.is_complete() && listing.names().count() == 500
    };
    assert!(eventually(is_whole).await);

    let fill = "for i = 501, 20000 do redis.call('SET', 'lock' .. i, ARGV[1], 'PX', 60000) end";
    server.command(&["EVAL", fill, "0", TOKEN]).await.unwrap();
    let listing = lab.redlock(1).list().await.unwrap();
    assert!(!listing.is_complete() && listing.names().count() > 0, "more than a listing may return");
}

pub(super) async fn a_listing_names_the_locks_that_its_user_may_read_or_reports_missing_permissions(lab: &Lab) {
    let server = lab.server(&ServerOptions::new()).await;
    let allow = async |rules: &[&str]| {
        let user = ["ACL", "SETUSER", "clerk", "reset", "on", ">hunter2", "~lock:*"];
        server.command(&[&user[..], rules].concat()).await.unwrap();
        let node = lab.open(&format!("redis://clerk:hunter2@127.0.0.1:{}", server.port()));
        Redlock::builder().nodes([node]).build().unwrap().list().await.unwrap()
    };
    // Keys of other programs: long ones, ones that are not text, and locks with another prefix.
    for fill in [
        "redis.call('SET', 'lock:long', string.rep(ARGV[1], 100000))",
        "redis.call('SET', 'lock:\\255\\0', ARGV[1])",
        "redis.call('SET', 'lock:bytes', '\\255\\0')",
        "redis.call('SET', 'theirs', ARGV[1])",
        "redis.call('SET', 'lock:a', ARGV[1])",
    ] {
        server.command(&["EVAL", fill, "0", TOKEN]).await.unwrap();
    }
    let listing = allow(&["+scan", "+getrange"]).await;
    assert!(listing.is_complete() && listing.names().eq(["lock:a"]), "{listing:?}");

    for rules in [&["+scan"][..], &["+getrange"], &["+eval", "+evalsha", "+set", "+getrange", "+del", "+pttl"]] {
        let listing = allow(rules).await;
        assert!(!listing.is_complete() && listing.names().next().is_none(), "{rules:?}: {listing:?}");
        let (_, error) = listing.failed().next().unwrap();
        assert_eq!(error.kind(), NodeErrorKind::Permission);
    }
}
