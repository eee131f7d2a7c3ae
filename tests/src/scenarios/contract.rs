//! The contract of `LockNode`, operation by operation, on one node.

use std::time::Duration;

use redlock_core::{
    LockNode, NodeErrorKind, Owner, Resource, Resources, Token, Ttl,
    backend::{
        AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, InspectAnswer, InspectRequest, ReleaseAnswer,
        ReleaseRequest,
    },
};

use crate::lab::Lab;

const TTL: Duration = Duration::from_secs(30);

fn resource() -> Resource {
    Resource::new("contract").unwrap()
}

fn token(number: u8) -> Token {
    Token::from_bytes([number; 20])
}

fn ttl(ttl: Duration) -> Ttl {
    Ttl::new(ttl).unwrap()
}

async fn acquire(node: &dyn LockNode, number: u8) -> AcquireAnswer {
    node.acquire(&AcquireRequest::new(resource(), token(number), ttl(TTL))).await.unwrap().answer
}

async fn extend(node: &dyn LockNode, number: u8) -> ExtendAnswer {
    extend_to(node, number, 2 * TTL).await
}

async fn extend_to(node: &dyn LockNode, number: u8, duration: Duration) -> ExtendAnswer {
    node.extend(&ExtendRequest::new(resource(), token(number), ttl(duration))).await.unwrap().answer
}

async fn release(node: &dyn LockNode, number: u8) -> ReleaseAnswer {
    node.release(&ReleaseRequest::new(resource(), token(number))).await.unwrap()
}

/// Returns whether a remaining TTL is that of a key that was just set.
fn is_fresh(remaining: Option<Duration>, ttl: Duration) -> bool {
    remaining.is_some_and(|remaining| remaining <= ttl && remaining > ttl.mul_f64(0.8))
}

pub(super) async fn an_acquire_sets_the_token_for_the_ttl(lab: &Lab) {
    let node = lab.node(0);
    assert_eq!(acquire(&node, 1).await, AcquireAnswer::granted());
    assert_eq!(lab.value(0, "contract").await.as_deref(), Some(token(1).as_str()));
    assert!(is_fresh(lab.remaining(0, "contract").await, TTL));
}

pub(super) async fn an_acquire_without_the_clock_gets_the_same_answer(lab: &Lab) {
    let node = lab.node(0);
    let acquire = async |number| {
        let mut request = AcquireRequest::new(resource(), token(number), ttl(TTL));
        request.wants_clock = false;
        node.acquire(&request).await.map(|timed| timed.answer)
    };
    assert_eq!(acquire(1).await.unwrap(), AcquireAnswer::granted());
    assert_eq!(lab.value(0, "contract").await.as_deref(), Some(token(1).as_str()));
    assert!(is_fresh(lab.remaining(0, "contract").await, TTL));
    // The request is sent again, as after a lost answer.
    assert_eq!(acquire(1).await.unwrap(), AcquireAnswer::granted());
    let AcquireAnswer::Held { remaining, .. } = acquire(2).await.unwrap() else { panic!("granted twice") };
    assert!(is_fresh(remaining, TTL), "{remaining:?}");
    assert_eq!(lab.value(0, "contract").await.as_deref(), Some(token(1).as_str()));
    assert_eq!(release(&node, 1).await, ReleaseAnswer::Released);
    lab.set_list(0, "contract").await;
    assert_eq!(acquire(3).await.unwrap_err().kind(), NodeErrorKind::WrongType);
}

pub(super) async fn an_acquire_is_refused_while_another_token_holds_the_key(lab: &Lab) {
    let node = lab.node(0);
    acquire(&node, 1).await;
    let AcquireAnswer::Held { remaining, .. } = acquire(&node, 2).await else { panic!("granted twice") };
    assert!(is_fresh(remaining, TTL), "{remaining:?}");
    assert_eq!(lab.value(0, "contract").await.as_deref(), Some(token(1).as_str()));
}

pub(super) async fn an_acquire_that_finds_its_own_token_is_granted(lab: &Lab) {
    let node = lab.node(0);
    acquire(&node, 1).await;
    assert_eq!(acquire(&node, 1).await, AcquireAnswer::granted());
}

pub(super) async fn an_extend_renews_the_expiry(lab: &Lab) {
    let node = lab.node(0);
    acquire(&node, 1).await;
    assert_eq!(extend(&node, 1).await, ExtendAnswer::Extended);
    assert!(is_fresh(lab.remaining(0, "contract").await, 2 * TTL));
}

pub(super) async fn an_extend_never_shortens_the_expiry(lab: &Lab) {
    let node = lab.node(0);
    acquire(&node, 1).await;
    assert_eq!(extend_to(&node, 1, TTL / 2).await, ExtendAnswer::Extended);
    assert!(is_fresh(lab.remaining(0, "contract").await, TTL));
}

pub(super) async fn an_extend_sets_a_lost_key_again(lab: &Lab) {
    let node = lab.node(0);
    assert_eq!(extend(&node, 1).await, ExtendAnswer::Healed);
    assert_eq!(lab.value(0, "contract").await.as_deref(), Some(token(1).as_str()));
    assert!(is_fresh(lab.remaining(0, "contract").await, 2 * TTL));
}

pub(super) async fn an_extend_does_not_change_the_key_of_another_holder(lab: &Lab) {
    let node = lab.node(0);
    acquire(&node, 1).await;
    let ExtendAnswer::Held { remaining, .. } = extend(&node, 2).await else { panic!("extended another's lock") };
    assert!(is_fresh(remaining, TTL), "{remaining:?}");
    assert_eq!(lab.value(0, "contract").await.as_deref(), Some(token(1).as_str()));
    assert!(is_fresh(lab.remaining(0, "contract").await, TTL));
}

pub(super) async fn a_release_deletes_its_own_key_once(lab: &Lab) {
    let node = lab.node(0);
    acquire(&node, 1).await;
    assert_eq!(release(&node, 1).await, ReleaseAnswer::Released);
    assert_eq!(lab.value(0, "contract").await, None);
    assert_eq!(release(&node, 1).await, ReleaseAnswer::NotHeld);
}

pub(super) async fn a_release_does_not_delete_the_key_of_another_holder(lab: &Lab) {
    let node = lab.node(0);
    acquire(&node, 1).await;
    assert_eq!(release(&node, 2).await, ReleaseAnswer::NotHeld);
    assert_eq!(lab.value(0, "contract").await.as_deref(), Some(token(1).as_str()));
}

pub(super) async fn an_inspect_reports_the_holder_and_changes_nothing(lab: &Lab) {
    let node = lab.node(0);
    let look = InspectRequest::new(resource());
    assert_eq!(node.inspect(&look).await.unwrap(), InspectAnswer::Absent);
    acquire(&node, 1).await;
    for _ in 0..2 {
        let InspectAnswer::Held { token: held, remaining, .. } = node.inspect(&look).await.unwrap() else {
            panic!("not held")
        };
        assert_eq!(held, token(1).as_bytes());
        assert!(is_fresh(remaining, TTL), "{remaining:?}");
    }
}

pub(super) async fn a_holder_without_expiry_is_reported_as_such(lab: &Lab) {
    let node = lab.node(0);
    lab.set(0, "contract", "another", None).await;
    assert_eq!(acquire(&node, 1).await, AcquireAnswer::held(None));
    assert_eq!(extend(&node, 1).await, ExtendAnswer::held(None));
    let look = InspectRequest::new(resource());
    let held = InspectAnswer::held(b"another", None);
    assert_eq!(node.inspect(&look).await.unwrap(), held);
}

pub(super) async fn a_key_of_another_type_is_an_error_and_not_deleted(lab: &Lab) {
    let node = lab.node(0);
    lab.set_list(0, "contract").await;
    let acquired = node.acquire(&AcquireRequest::new(resource(), token(1), ttl(TTL))).await;
    assert_eq!(acquired.unwrap_err().kind(), NodeErrorKind::WrongType);
    let extended = node.extend(&ExtendRequest::new(resource(), token(1), ttl(TTL))).await;
    assert_eq!(extended.unwrap_err().kind(), NodeErrorKind::WrongType);
    let released = node.release(&ReleaseRequest::new(resource(), token(1))).await;
    assert_eq!(released.unwrap_err().kind(), NodeErrorKind::WrongType);
    let inspected = node.inspect(&InspectRequest::new(resource())).await;
    assert_eq!(inspected.unwrap_err().kind(), NodeErrorKind::WrongType);
    lab.remove(0, "contract").await;
    assert_eq!(acquire(&node, 1).await, AcquireAnswer::granted());
}

pub(super) async fn any_name_can_be_a_key(lab: &Lab) {
    let node = lab.node(0);
    let huge = "x".repeat(Resource::MAX_LEN);
    for name in [" ", "a b\tc\r\nd", "nul\0nul", "\u{1f512}{tag}", "\"'\\", huge.as_str()] {
        let resource = Resource::new(name).unwrap();
        let acquired = node.acquire(&AcquireRequest::new(resource.clone(), token(1), ttl(TTL))).await.unwrap().answer;
        assert_eq!(acquired, AcquireAnswer::granted());
        assert_eq!(lab.value(0, name).await.as_deref(), Some(token(1).as_str()));
        let released = node.release(&ReleaseRequest::new(resource, token(1))).await.unwrap();
        assert_eq!(released, ReleaseAnswer::Released);
    }
}

pub(super) async fn a_token_may_name_its_owner(lab: &Lab) {
    let node = lab.node(0);
    for label in ["web-3:4711", "a b \"c\" \\", "\u{8ba2}\u{5355}", &"x".repeat(Owner::MAX_LEN)] {
        let owned = token(1).with_owner(&Owner::new(label).unwrap());
        let acquire = AcquireRequest::new(resource(), owned, ttl(TTL));
        for _ in 0..2 {
            assert_eq!(node.acquire(&acquire).await.unwrap().answer, AcquireAnswer::granted());
        }
        let InspectAnswer::Held { token: held, .. } = node.inspect(&InspectRequest::new(resource())).await.unwrap()
        else {
            panic!("not held")
        };
        assert_eq!((held.as_slice(), Owner::of_value(&held)), (owned.as_bytes(), Some(label)));
        let extend = ExtendRequest::new(resource(), owned, ttl(2 * TTL));
        assert_eq!(node.extend(&extend).await.unwrap().answer, ExtendAnswer::Extended);
        // The digits alone are another token.
        assert!(matches!(extend_to(&node, 1, TTL).await, ExtendAnswer::Held { .. }));
        assert_eq!(release(&node, 1).await, ReleaseAnswer::NotHeld);
        let released = node.release(&ReleaseRequest::new(resource(), owned)).await;
        assert_eq!(released.unwrap(), ReleaseAnswer::Released);
    }
}

pub(super) async fn the_shortest_and_the_longest_ttl_are_accepted(lab: &Lab) {
    let node = lab.node(0);
    let longest = AcquireRequest::new(resource(), token(1), ttl(Ttl::MAX));
    assert_eq!(node.acquire(&longest).await.unwrap().answer, AcquireAnswer::granted());
    assert!(is_fresh(lab.remaining(0, "contract").await, Ttl::MAX));
    release(&node, 1).await;
    let shortest = AcquireRequest::new(resource(), token(1), ttl(Ttl::MIN));
    assert_eq!(node.acquire(&shortest).await.unwrap().answer, AcquireAnswer::granted());
    lab.until_held_by(0, "contract").await;
}

const MANY: [&str; 3] = ["contract:a", "contract:b", "contract:c"];

fn many() -> Resources {
    Resources::new(MANY).unwrap()
}

async fn acquire_many(node: &dyn LockNode, number: u8) -> AcquireAnswer {
    node.acquire(&AcquireRequest::new(many(), token(number), ttl(TTL))).await.unwrap().answer
}

async fn extend_many(node: &dyn LockNode, number: u8, duration: Duration) -> ExtendAnswer {
    node.extend(&ExtendRequest::new(many(), token(number), ttl(duration))).await.unwrap().answer
}

/// Returns the number of the token in each key, or 0 if there is none.
async fn holders(lab: &Lab) -> [u8; 3] {
    let mut holders = [0; 3];
    for (holder, key) in holders.iter_mut().zip(MANY) {
        if let Some(value) = lab.value(0, key).await {
            *holder = (1..10).find(|number| token(*number).as_str() == value).unwrap();
        }
    }
    holders
}

pub(super) async fn either_all_of_several_keys_are_set_or_none(lab: &Lab) {
    let node = lab.node(0);
    assert_eq!(acquire_many(&node, 1).await, AcquireAnswer::granted());
    assert_eq!(holders(lab).await, [1, 1, 1]);
    for key in MANY {
        assert!(is_fresh(lab.remaining(0, key).await, TTL));
    }
    for key in &MANY[..2] {
        lab.remove(0, key).await;
    }
    assert!(matches!(acquire_many(&node, 2).await, AcquireAnswer::Held { .. }));
    assert_eq!(holders(lab).await, [0, 0, 1]);
}

pub(super) async fn several_keys_of_which_some_hold_the_token_are_granted(lab: &Lab) {
    let node = lab.node(0);
    lab.set(0, MANY[1], token(1).as_str(), Some(4 * TTL)).await;
    assert_eq!(acquire_many(&node, 1).await, AcquireAnswer::granted());
    assert_eq!(holders(lab).await, [1, 1, 1]);
    assert!(is_fresh(lab.remaining(0, MANY[0]).await, TTL));
    assert!(is_fresh(lab.remaining(0, MANY[1]).await, 4 * TTL), "keys with our token are unchanged");
    assert_eq!(acquire_many(&node, 1).await, AcquireAnswer::granted());
}

pub(super) async fn several_keys_are_refused_while_any_is_held(lab: &Lab) {
    let node = lab.node(0);
    lab.set(0, MANY[0], token(2).as_str(), Some(2 * TTL)).await;
    lab.set(0, MANY[1], token(3).as_str(), Some(4 * TTL)).await;
    // The request's own key does not count.
    lab.set(0, MANY[2], token(1).as_str(), Some(8 * TTL)).await;
    let AcquireAnswer::Held { remaining, .. } = acquire_many(&node, 1).await else { panic!("granted") };
    assert!(is_fresh(remaining, 4 * TTL), "{remaining:?}");
    let ExtendAnswer::Held { remaining, .. } = extend_many(&node, 1, TTL).await else { panic!("extended") };
    assert!(is_fresh(remaining, 4 * TTL), "{remaining:?}");
    // No expiry counts as the longest, in any position.
    for key in &MANY[..2] {
        lab.set(0, key, token(4).as_str(), None).await;
        assert_eq!(acquire_many(&node, 1).await, AcquireAnswer::held(None));
        assert_eq!(extend_many(&node, 1, TTL).await, ExtendAnswer::held(None));
        lab.set(0, key, token(4).as_str(), Some(TTL)).await;
    }
    assert_eq!(holders(lab).await, [4, 4, 1]);
}

pub(super) async fn either_all_of_several_keys_are_extended_or_none(lab: &Lab) {
    let node = lab.node(0);
    acquire_many(&node, 1).await;
    lab.set(0, MANY[0], token(1).as_str(), Some(8 * TTL)).await;
    assert_eq!(extend_many(&node, 1, 2 * TTL).await, ExtendAnswer::Extended);
    assert!(is_fresh(lab.remaining(0, MANY[0]).await, 8 * TTL), "no key is shortened");
    assert!(is_fresh(lab.remaining(0, MANY[2]).await, 2 * TTL));

    lab.remove(0, MANY[1]).await;
    assert_eq!(extend_many(&node, 1, 2 * TTL).await, ExtendAnswer::Healed);
    assert!(is_fresh(lab.remaining(0, MANY[1]).await, 2 * TTL));
    assert_eq!(holders(lab).await, [1, 1, 1]);

    lab.remove(0, MANY[1]).await;
    lab.set(0, MANY[2], token(2).as_str(), Some(TTL)).await;
    assert!(matches!(extend_many(&node, 1, 16 * TTL).await, ExtendAnswer::Held { .. }));
    assert_eq!(holders(lab).await, [1, 0, 2]);
    assert!(is_fresh(lab.remaining(0, MANY[0]).await, 8 * TTL), "nothing is changed");
}

pub(super) async fn a_release_deletes_those_of_several_keys_that_hold_its_token(lab: &Lab) {
    let node = lab.node(0);
    let release = ReleaseRequest::new(many(), token(1));
    acquire_many(&node, 1).await;
    assert_eq!(node.release(&release).await.unwrap(), ReleaseAnswer::Released);
    assert_eq!(holders(lab).await, [0, 0, 0]);
    assert_eq!(node.release(&release).await.unwrap(), ReleaseAnswer::NotHeld);

    acquire_many(&node, 1).await;
    lab.set(0, MANY[0], token(2).as_str(), Some(TTL)).await;
    lab.remove(0, MANY[1]).await;
    assert_eq!(node.release(&release).await.unwrap(), ReleaseAnswer::NotHeld);
    assert_eq!(holders(lab).await, [2, 0, 0]);
}

pub(super) async fn a_key_of_another_type_among_several_is_an_error(lab: &Lab) {
    let node = lab.node(0);
    lab.set_list(0, MANY[1]).await;
    let acquired = node.acquire(&AcquireRequest::new(many(), token(1), ttl(TTL))).await;
    assert_eq!(acquired.unwrap_err().kind(), NodeErrorKind::WrongType);
    let extended = node.extend(&ExtendRequest::new(many(), token(1), ttl(TTL))).await;
    assert_eq!(extended.unwrap_err().kind(), NodeErrorKind::WrongType);
    for key in [MANY[0], MANY[2]] {
        assert_eq!(lab.value(0, key).await, None, "no key is set");
        lab.set(0, key, token(1).as_str(), Some(TTL)).await;
    }
    // The release deletes the other keys.
    let released = node.release(&ReleaseRequest::new(many(), token(1))).await;
    assert_eq!(released.unwrap_err().kind(), NodeErrorKind::WrongType);
    for key in [MANY[0], MANY[2]] {
        assert_eq!(lab.value(0, key).await, None);
    }
}
