//! A lock that is transferred as data.

use redlock_core::{LockParts, Release};
use redlock_mock::MockNode;

use crate::support::{ms, redlock};

#[tokio::test(start_paused = true)]
async fn a_lock_is_transferred_as_data_and_validated_on_arrival() {
    let nodes = MockNode::fleet(3);
    let (here, there) = (redlock(&nodes), redlock(&nodes));
    let lock = here.acquire(["b\n\u{8ba2}", "a"], ms(10_500)).await.unwrap();
    let token = lock.token().as_str().to_owned();
    let sent = serde_json::to_string(&lock.into_parts().await.unwrap()).unwrap();
    assert_eq!(sent, format!(r#"{{"resources":["a","b\n{}"],"token":"{token}","ttl_ms":10500}}"#, '\u{8ba2}'));
    let parts: LockParts = serde_json::from_str(&sent).unwrap();
    assert_eq!(serde_json::to_string(&parts).unwrap(), sent);
    assert_eq!(there.resume(parts).await.unwrap().release().await.unwrap(), Release::Released);

    let permit = there.acquire_permit("s", 1, ms(10_500)).await.unwrap();
    let permit = serde_json::to_string(&permit.into_parts().await.unwrap()).unwrap();
    assert!(permit.ends_with(r#""ttl_ms":10500,"permit":[0,1]}"#), "{permit}");
    let parts: LockParts = serde_json::from_str(&permit).unwrap();
    assert_eq!(there.resume(parts).await.unwrap().release().await.unwrap(), Release::Released);

    for (forged, why) in [
        (permit.replace("[0,1]", "[1,1]"), "not slot 1 of 1"),
        (sent.replace(r#""a","#, r#""","#), "the resource name is empty"),
        (sent.replace(&token, &token[1..]), "the token was not made by this library"),
        (sent.replace(&token, &token.to_uppercase()), "the token was not made by this library"),
        (sent.replace("10500", "0"), "the TTL is zero"),
        (sent.replace("10500", "604800001"), "is above"),
        (sent.replace("10500", "-1"), "invalid value"),
        (r#"{"resources":[],"token":"","ttl_ms":1}"#.to_owned(), "there are no resources"),
        ("{}".to_owned(), "missing field"),
    ] {
        let error = serde_json::from_str::<LockParts>(&forged).unwrap_err().to_string();
        assert!(error.contains(why) && !error.contains(&token[1..]), "{error}");
    }
}
