//! Tests the example of an HTTP handler under a lock.

use crate::{
    http::{Answer, Request},
    program::Program,
    stage::Stage,
};

const CHARGE: &str = "/invoices/7/charge";
const KEY: &str = "invoice:7";

/// Starts a service, and returns it with its address.
async fn service(stage: &Stage) -> (Program, String) {
    let service = Program::start_with("axum_handler", stage, [("LISTEN", "127.0.0.1:0")]);
    let line = service.until_said("listening on http://").await;
    let address = line.split("http://").last().unwrap().to_owned();
    (service, address)
}

async fn post(address: &str, path: &str) -> Answer {
    Request::send("POST", address, path).await.answer().await
}

#[tokio::test]
async fn an_invoice_is_charged_once_whichever_host_gets_the_request() {
    let stage = Stage::new().await;
    let ((one, at_one), (other, at_other)) = (service(&stage).await, service(&stage).await);
    let charging = Request::send("POST", &at_one, CHARGE).await;
    stage.until_held(KEY).await;

    // Meanwhile, both hosts refuse this invoice, and charge other invoices.
    let (same, elsewhere, unrelated) =
        tokio::join!(post(&at_one, CHARGE), post(&at_other, CHARGE), post(&at_other, "/invoices/8/charge"));
    for refused in [same, elsewhere] {
        assert_eq!((refused.status, refused.header("retry-after")), (409, Some("1")), "{refused:?}");
    }
    assert_eq!((unrelated.status, unrelated.body.as_str()), (200, "8 is charged\n"));

    let charged = charging.answer().await;
    assert_eq!((charged.status, charged.body.as_str()), (200, "7 is charged\n"));
    let again = post(&at_one, CHARGE).await;
    assert_eq!((again.status, again.body.as_str()), (200, "7 was charged before\n"));
    for (host, charges) in [(one, 1), (other, 0)] {
        host.send("TERM");
        let ended = host.ended().await;
        assert_eq!(ended.lines(" charged invoice=7").len(), charges, "{ended:?}");
    }
    assert_eq!(stage.tokens(KEY).await, [""; 0]);
}

#[tokio::test]
async fn an_invoice_is_charged_only_with_a_quorum() {
    let stage = Stage::new().await;
    let (service, address) = service(&stage).await;
    stage.stop(2).await;
    let refused = post(&address, CHARGE).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    // The reason is for operators, not for clients.
    assert_eq!(refused.body, "try again later\n");
    service.until_said("nothing can be charged").await;

    let [node, ..] = stage.servers.as_slice() else { panic!("no servers") };
    node.start().await.unwrap();
    let charged = post(&address, CHARGE).await;
    assert_eq!((charged.status, charged.body.as_str()), (200, "7 is charged\n")); // and was not charged before
}

#[tokio::test]
async fn sigterm_in_the_middle_of_a_request_lets_it_finish() {
    let stage = Stage::new().await;
    let (service, address) = service(&stage).await;
    let charging = Request::send("POST", &address, CHARGE).await;
    stage.until_held(KEY).await;
    service.send("TERM");

    let charged = charging.answer().await;
    assert_eq!((charged.status, charged.body.as_str()), (200, "7 is charged\n"));
    let ended = service.ended().await;
    assert_eq!((ended.code, ended.lines(" charged ").len()), (Some(0), 1), "{ended:?}");
    assert_eq!(stage.tokens(KEY).await, [""; 0]);
}

#[tokio::test]
async fn a_charge_whose_client_hangs_up_is_finished_even_at_the_end_of_the_service() {
    let stage = Stage::new().await;
    let (service, address) = service(&stage).await;
    let charging = Request::send("POST", &address, CHARGE).await;
    stage.until_held(KEY).await;
    drop(charging);
    service.send("TERM");

    let ended = service.ended().await;
    assert_eq!((ended.code, ended.lines(" charged ").len()), (Some(0), 1), "{ended:?}");
    assert_eq!(stage.tokens(KEY).await, [""; 0]);
}
