//! Inspecting locks without changing them.

use std::time::Duration;

use redlock_core::{
    Finding, InspectError, KeyState, Release, Resource, Resources, Token, Ttl,
    backend::{
        AcquireRequest, ExtendRequest, FencingCounters, InspectAnswer, InspectRequest, RaiseRequest, ReleaseAnswer,
        ReleaseRequest,
    },
};

use crate::lab::Lab;

const TTL: Duration = Duration::from_secs(30);

pub(super) async fn a_held_lock_names_its_holder(lab: &Lab) {
    let (ours, theirs) = (lab.redlock(3), lab.redlock(3));
    let lock = ours.acquire("r", TTL).await.unwrap();
    lab.until_held_by(3, "r").await;
    let inspection = theirs.inspect("r").await.unwrap();
    let holder = inspection.holder().unwrap();
    assert_eq!(holder.value(), lock.token().as_bytes());
    assert_eq!(inspection.is_locked(), Some(true));
    let remaining = theirs.remaining("r").await.unwrap().unwrap();
    assert!(remaining > TTL / 2 && remaining <= TTL, "{remaining:?}");
    assert!(inspection.nodes().iter().all(|view| view.state.holder().is_some()), "{inspection}");
    let printed = inspection.to_string();
    assert!(
        printed.contains(&lock.token().as_str()[..8]) && !printed.contains(&lock.token().as_str()[..9]),
        "{printed}"
    );
    // The inspection has taken nothing from the holder.
    assert!(theirs.is_locked("r").await.unwrap());
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn a_free_lock_is_reported_free(lab: &Lab) {
    let redlock = lab.redlock(3);
    let _ = redlock.acquire("r", TTL).await.unwrap().release().await.unwrap();
    redlock.close().await.unwrap();
    let inspection = redlock.inspect("r").await.unwrap();
    assert_eq!((inspection.finding(), inspection.is_locked()), (&Finding::Free, Some(false)), "{inspection}");
    assert!(!redlock.is_locked("r").await.unwrap());
    assert_eq!(redlock.remaining("r").await.unwrap(), None);
    assert_eq!(lab.holding("r").await, 0, "an inspection sets nothing");
}

pub(super) async fn a_lock_is_held_for_as_long_as_a_quorum_holds_it(lab: &Lab) {
    let redlock = lab.redlock(5);
    for (index, factor) in [4, 1, 3, 5].into_iter().enumerate() {
        lab.set(index, "r", "theirs", Some(factor * TTL)).await;
    }
    lab.set(4, "r", "others", Some(9 * TTL)).await;
    // Of the four keys, the third-longest decides.
    let remaining = redlock.remaining("r").await.unwrap().unwrap();
    assert!(remaining > 2 * TTL && remaining <= 3 * TTL, "{remaining:?}");
    lab.set(1, "r", "theirs", None).await;
    lab.set(2, "r", "theirs", None).await;
    lab.set(3, "r", "theirs", None).await;
    assert_eq!(redlock.remaining("r").await.unwrap(), Some(Duration::MAX));
    let inspection = redlock.inspect("r").await.unwrap();
    assert_eq!(
        (inspection.holder().unwrap().value(), inspection.holder().unwrap().remaining()),
        (&b"theirs"[..], None)
    );
}

pub(super) async fn a_value_of_another_library_is_reported_and_escaped(lab: &Lab) {
    let redlock = lab.redlock(3);
    let value = "\u{1b}[2J\"forged\" \u{8ba2}\n";
    for index in 0..3 {
        lab.set(index, "r", value, Some(TTL)).await;
    }
    let inspection = redlock.inspect("r").await.unwrap();
    assert_eq!((inspection.holder().unwrap().value(), inspection.holder().unwrap().owner()), (value.as_bytes(), None));
    let printed = inspection.to_string();
    assert!(!printed.contains('\u{1b}') && !printed.contains("forged"), "{printed}");
    assert_eq!(printed.lines().count(), 4, "{printed}");
}

pub(super) async fn a_split_vote_is_distinguished_from_a_lock(lab: &Lab) {
    let redlock = lab.redlock(3);
    lab.set(0, "r", "one", Some(TTL)).await;
    lab.set(1, "r", "other", Some(TTL)).await;
    let inspection = redlock.inspect("r").await.unwrap();
    assert_eq!((inspection.finding(), inspection.is_locked()), (&Finding::Split, Some(false)), "{inspection}");
    assert!(!redlock.is_locked("r").await.unwrap());
    // A key that is left by a crashed caller excludes nobody.
    lab.remove(1, "r").await;
    assert_eq!(redlock.inspect("r").await.unwrap().finding(), &Finding::Free);
}

pub(super) async fn an_inspection_is_certain_with_a_quorum_of_answers(lab: &Lab) {
    let redlock = lab.redlock(5);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    lab.until_held_by(5, "r").await;
    lab.stop(1).await;
    lab.hang(4).await;
    let inspection = redlock.inspect("r").await.unwrap();
    assert_eq!(inspection.is_locked(), Some(true), "{inspection}");
    let views = inspection.nodes();
    assert!(
        matches!((&views[1].state, &views[4].state), (KeyState::Failed(_), KeyState::Silent { .. })),
        "{inspection}"
    );
    assert!(!redlock.is_locked("other").await.unwrap());
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    lab.mend(4).await;
    lab.close(&redlock).await;
}

pub(super) async fn with_too_few_answers_an_inspection_does_not_guess(lab: &Lab) {
    let redlock = lab.redlock(3);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    lab.until_held_by(3, "r").await;
    lab.stop(0).await;
    lab.hang(1).await;
    assert_eq!(redlock.inspect("r").await.unwrap().is_locked(), None);
    let error = redlock.is_locked("r").await.unwrap_err();
    assert!(matches!(error, InspectError::TooFewAnswers(_)), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("1 of 3 nodes answered, too few to decide") && text.contains("did not answer within"),
        "{text}"
    );
    assert!(redlock.remaining("r").await.is_err());
    lab.mend(1).await;
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn a_key_of_another_type_is_reported(lab: &Lab) {
    let redlock = lab.redlock(3);
    for index in 0..3 {
        lab.set_list(index, "r").await;
    }
    let error = redlock.is_locked("r").await.unwrap_err().to_string();
    assert!(error.contains("the key holds another type") && error.contains("choose another resource name"), "{error}");
}

pub(super) async fn a_huge_value_is_neither_fetched_nor_compared(lab: &Lab) {
    const SIZE: &str = "100000000";
    let (node, server) = (lab.node(0), lab.site(0));
    for key in ["r", "counter"] {
        server.command(&["SETRANGE", key, SIZE, "x"]).await.unwrap();
    }
    server.command(&["CONFIG", "RESETSTAT"]).await.unwrap();

    let (key, token, ttl) = (Resource::new("r").unwrap(), Token::from_bytes([1; 20]), Ttl::new(TTL).unwrap());
    let looked = node.inspect(&InspectRequest::new(key.clone())).await.unwrap();
    let InspectAnswer::Held { token: shown, .. } = &looked else { panic!("{looked:?}") };
    assert_eq!(shown.len(), 106);
    let keys = Resources::new(["r", "s"]).unwrap();
    for keys in [Resources::from(key.clone()), keys] {
        let answer = node.acquire(&AcquireRequest::new(keys, token, ttl)).await.unwrap().answer;
        assert!(matches!(answer, redlock_core::backend::AcquireAnswer::Held { .. }), "{answer:?}");
    }
    let answer = node.extend(&ExtendRequest::new(key.clone(), token, ttl)).await.unwrap().answer;
    assert!(matches!(answer, redlock_core::backend::ExtendAnswer::Held { .. }), "{answer:?}");
    assert_eq!(node.release(&ReleaseRequest::new(key, token)).await.unwrap(), ReleaseAnswer::NotHeld);

    // As a fencing counter, the value is an error, and it is not changed.
    let counters = || FencingCounters::new(Resource::new("counter").unwrap(), TTL);
    let free = Resource::new("free").unwrap();
    let mut fenced = AcquireRequest::new(Resources::new(["free", "also"]).unwrap(), token, ttl);
    fenced.fencing = Some(counters());
    node.acquire(&fenced).await.unwrap_err();
    lab.set(0, "free", token.as_str(), Some(TTL)).await;
    node.raise(&RaiseRequest::new(free, token, counters(), 8)).await.unwrap_err();

    let told = server.command(&["INFO", "all"]).await.unwrap().text().unwrap();
    assert!(!told.contains("cmdstat_get:"), "a script has fetched a whole value");
    let sent: u64 = told.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")?.parse().ok()).unwrap();
    assert!(sent < 1_000_000, "{sent} bytes were sent");
}
