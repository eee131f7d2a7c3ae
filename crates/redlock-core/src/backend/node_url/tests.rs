//! Tests of how URLs are parsed, and of the errors for those that cannot be used.

use super::*;

fn parse(text: &str) -> NodeUrl {
    NodeUrl::parse(text).unwrap()
}

fn tcp(host: &str, port: u16, tls: bool) -> NodeAddress {
    NodeAddress::Tcp { host: host.into(), port, tls }
}

#[test]
fn a_host_is_enough() {
    let node = parse("redis://Node-A");
    assert_eq!((&node.address, node.db), (&tcp("node-a", 6379, false), 0));
    assert_eq!((node.user, node.password), (None, None));
}

#[test]
fn all_parts_are_read() {
    let node = parse("rediss://us%40er:p%3Aa+ss@[::1]:7000/3?connect_timeout=200ms&response_timeout=2s");
    assert_eq!((node.address.clone(), node.db), (tcp("::1", 7000, true), 3));
    assert_eq!((node.user.as_deref(), node.password.as_deref()), (Some("us@er"), Some("p:a+ss")));
    assert_eq!(node.connect_timeout, Duration::from_millis(200));
    assert_eq!(node.response_timeout, Duration::from_secs(2));
    assert_eq!(node.name(), "[::1]:7000");
}

#[test]
fn redlock_go_urls_are_read() {
    let node = parse("tcp://:secret@10.0.0.1:6380/2?DialTimeout=5000000&ReadTimeout=7000000&WriteTimeout=6000000");
    assert_eq!((node.address.clone(), node.db), (tcp("10.0.0.1", 6380, false), 2));
    assert_eq!((node.user.as_deref(), node.password.as_deref()), (None, Some("secret")));
    assert_eq!(node.connect_timeout, Duration::from_millis(5));
    assert_eq!(node.response_timeout, Duration::from_millis(7));
}

#[test]
fn unix_sockets_are_read() {
    for url in ["unix:///run/redis.sock?db=4&password=p", "redis+unix:///run/redis.sock?db=4&pass=p"] {
        let node = parse(url);
        assert_eq!((node.name(), node.db), ("/run/redis.sock".to_owned(), 4));
        assert_eq!(node.password.as_deref(), Some("p"));
    }
    assert_eq!(parse("unix:///run/redis.sock?user=u").user.as_deref(), Some("u"));
}

#[test]
fn each_timeout_can_be_set_by_itself() {
    let node = parse("redis://a").with_response_timeout(Duration::from_millis(7));
    assert_eq!((node.connect_timeout, node.response_timeout), (Duration::from_secs(1), Duration::from_millis(7)));
    let node = parse("redis://a").with_connect_timeout(Duration::from_millis(7));
    assert_eq!((node.connect_timeout, node.response_timeout), (Duration::from_millis(7), Duration::from_secs(1)));
}

#[test]
fn a_connection_is_relied_on_alone_for_a_minute_unless_the_url_says_otherwise() {
    assert_eq!(parse("redis://a").idle_limit, Some(Duration::from_secs(60)));
    assert_eq!(parse("redis://a?idle_limit=5m").idle_limit, Some(Duration::from_secs(300)));
    assert_eq!(parse("redis://a?idle_limit=off").idle_limit, None);
    assert_eq!(parse("redis://a").with_idle_limit(None).idle_limit, None);
    assert!(NodeUrl::parse("redis://a?idle_limit=0s").is_err());
    assert!(parse("redis://a").with_idle_limit(Some(Duration::ZERO)).check(UrlFeatures::default()).is_err());
}

#[test]
fn keepalive_is_on_unless_it_is_switched_off() {
    assert_eq!(parse("redis://a").keepalive, Some(Duration::from_secs(30)));
    assert_eq!(parse("redis://a?keepalive=5s").keepalive, Some(Duration::from_secs(5)));
    assert_eq!(parse("redis://a?keepalive=off").keepalive, None);
    assert_eq!(parse("redis://a").with_keepalive(None).keepalive, None);
    assert!(NodeUrl::parse("redis://a?keepalive=0s").is_err());
    assert!(parse("redis://a").with_keepalive(Some(Duration::ZERO)).check(UrlFeatures::default()).is_err());
}

#[test]
fn a_url_may_be_owned_borrowed_or_already_parsed() {
    let owned = "redis://a".to_owned();
    let read = NodeUrl::parse_all([&owned]).unwrap();
    assert_eq!(read, [parse("redis://a")]);
    assert_eq!(NodeUrl::parse_all([owned]).unwrap(), read);
    assert_eq!(NodeUrl::parse_all(read.clone()).unwrap(), read);
}

#[test]
fn an_error_names_the_server() {
    let error = |url| NodeUrl::parse(url).unwrap_err().to_string();
    assert_eq!(error("redis://a:7000/x"), "cannot use node url `redis://a:7000`: the database \"x\" is not a number");
    assert_eq!(error("rediss://a/x"), "cannot use node url `rediss://a`: the database \"x\" is not a number");
    assert_eq!(error("redis://:hunter2@a:99999/0").split(": ").next(), Some("cannot use node url `a:99999`"));
    let rejected = parse("redis://:hunter2@a").rejected("database 300 is above 255").to_string();
    assert_eq!(rejected, "cannot use node url `a:6379`: database 300 is above 255");
}

#[test]
fn the_error_names_the_wrong_one_of_several_urls() {
    let error = |urls: [&str; 3]| NodeUrl::parse_all(urls).unwrap_err().to_string();
    assert_eq!(
        error(["redis://a", "redis://:hunter2@b:x", "redis://c"]),
        "cannot use node url number 2, `b:x`: invalid port number; write it as `redis://host:6379`"
    );
    assert!(error(["redis://a", "redis://b", "c"]).starts_with("cannot use node url number 3, `...`: "));
    assert!(error(["redis://a", "redis://b", "redis://a"]).starts_with("cannot use node url number 3, `a:6379`: "));
}

#[test]
fn a_password_that_is_not_encoded_is_recognized() {
    for url in [
        "redis://:hunter2/x@b:7000",
        "redis://u:hunter2#x@b:7000/1",
        "redis://u:1/hunter2@b:7000",
        "rediss://u:1?hunter2@b:7000",
    ] {
        let error = NodeUrl::parse(url).unwrap_err();
        let text = error.to_string();
        let host = if url.contains('?') { "..." } else { "b:7000" };
        let start = format!("cannot use node url `{host}`: the user or the password seems to contain `#`");
        assert!(text.starts_with(&start), "{text}");
        assert!(!format!("{error:?} {text}").contains("hunter2"), "{error:?}");
    }
    // An `@` after the host is fine.
    assert_eq!(parse("redis://a?password=b@c").password.as_deref(), Some("b@c"));
}

#[test]
fn an_error_states_the_cause_without_the_password() {
    for (url, why) in [
        ("", "relative URL without a base"),
        ("10.0.0.1:6379", "relative URL without a base"),
        ("http://:hunter2@a", "the scheme is not one of"),
        ("redis://", "there is no host"),
        ("redis+unix://?password=hunter2", "there is no host"),
        ("redis://u:hunter2@a:99999", "invalid port number"),
        ("redis://:hunter2@a/first", "the database \"first\" is not a number"),
        ("redis://:hunter2@a/-1", "the database \"-1\" is not a number"),
        ("redis://:hunter2@a?timeout=3", "an option is not one of connect_timeout"),
        ("redis://:hunter2@a?connect_timeout=3", "a timeout is not a positive duration"),
        ("redis://:hunter2@a?response_timeout=0ms", "a timeout is not a positive duration"),
        ("tcp://:hunter2@a?DialTimeout=5ms", "a timeout is not a positive duration"),
        ("tcp://:hunter2@a?DialTimeout=0", "a timeout is not a positive duration"),
        ("redis://hunter2:%ff@a", "not UTF-8"),
        ("redis://u:hunter2@a b", "invalid domain character"),
        ("redis://user:hunter2", "invalid port number"),
        ("redis://:hunter2", "empty host"),
        ("redis://:hunter2%40host:6379", "empty host"),
        ("redis://hunter2%40host:6379", "the host is percent-encoded"),
        ("redis://a:12?hunter2@host/0", "percent-encode them"),
        ("redis+unix:///run/redis.sock?db=x&password=p@hunter2", "the database \"x\" is not a number"),
        ("redis://a:x?password=b@hunter2", "`...`: invalid port number"),
        ("redis://a/x?password=p@hunter2", "`...`: the database is not a number"),
        ("redis://u:1/hunter2%40b:7000", "`...`: the database is not a number"),
        ("redis://u:1/hunter2", "the database is not a number"),
        ("redis://u:1@hunter2/x@b:7000", "`...`: the database is not a number"),
        ("redis://u:1/x@hunter2?y@b:7000", "`...`: the user or the password seems to contain"),
        ("redis://hunter2:x@a/hunter2@b", "`...`: the database is not a number"),
        ("unix://[?password=p@hunter2", "`...`: "),
    ] {
        let error = NodeUrl::parse(url).unwrap_err();
        assert!(error.to_string().contains(why), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn debug_shows_all_but_the_password() {
    let text = format!("{:?}", parse("redis://me:hunter2@a/3?connect_timeout=5ms"));
    for shown in [r#"host: "a""#, "port: 6379", r#"user: Some("me")"#, r#"password: Some("...")"#, "db: 3", "5ms", "1s"]
    {
        assert!(text.contains(shown), "{text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn one_server_must_not_vote_twice() {
    let error = NodeUrl::parse_all(["redis://a", "redis://b", "tcp://A:6379/1"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot use node url number 3, `a:6379`: the same server is given twice; one server must not vote twice"
    );
    assert_eq!(NodeUrl::parse_all(["redis://a", "redis://a:6380"]).unwrap().len(), 2);
}

#[test]
fn tls_must_be_built_in_to_be_used() {
    let tls = UrlFeatures { tls: true, ..UrlFeatures::default() };
    assert!(parse("rediss://a").check(tls).is_ok());
    assert!(parse("rediss://a").check(UrlFeatures::default()).is_err());
    assert!(parse("redis://a").check(UrlFeatures::default()).is_ok());
}

#[test]
fn a_timeout_is_not_zero() {
    assert!(parse("redis://a").with_connect_timeout(Duration::ZERO).check(UrlFeatures::default()).is_err());
    assert!(parse("redis://a").with_response_timeout(Duration::ZERO).check(UrlFeatures::default()).is_err());
}
