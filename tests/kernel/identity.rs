//! Whose connection it is.

use serde_json::{Value, json};
use tracer_tests::live;
use tracer_tests::record::{at, text};
use tracer_tests::temp::{TempDir, fixture};

use crate::scene::Scene;

fn android_scene() -> (Scene, TempDir) {
    let root = TempDir::new();
    fixture::android_15(&root);
    let scene = Scene::with(["--android-root".as_ref(), root.path().as_os_str()]);
    (scene, root)
}

#[test]
fn a_connection_of_an_app_names_its_package_and_user() {
    let _turn = live!();
    let (scene, _root) = android_scene();
    let _server = scene.server("203.0.113.7:5000");
    let report = scene.act("uid=10123 socket=4 connect=203.0.113.7:5000 tell");
    let record = scene.expect(&report, "connect");
    assert_eq!(at(&record, "app.package"), &json!(["com.example.messenger"]));
    assert_eq!(at(&record, "app.uid"), &json!(10123));
    assert_eq!(at(&record, "app.android_user"), &json!(0));
    assert_eq!(at(&record, "app.kind"), &json!("app"));
    assert_eq!(text(&record, "user.id"), "10123");
    assert_eq!(text(&record, "process.user.id"), "10123");
    assert_eq!(
        at(&record, "attribution"),
        &json!({"method": "sock_ops", "owner": "sk_uid",
        "process": "connect", "confidence": "certain"})
    );
    scene.stop();
}

#[test]
fn zz_show() {
    let _turn = live!();
    let (scene, _root) = android_scene();
    let _server = scene.server("203.0.113.7:5000");
    let report = scene.act("uid=10123 socket=4 connect=203.0.113.7:5000 tell send=5 close");
    scene.expect(&report, "close");
    for r in scene.stop().records {
        eprintln!("{r}");
    }
    let _: Option<Value> = None;
}
