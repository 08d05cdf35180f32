//! The report of the story in a real browser.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod report_of;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tracer_tests::{live, temp::TempDir};
use tracer_tests_scenarios::xperia::REPORTED;

use report_of::{capture, report_of};

#[test]
fn on_a_phone_nothing_is_wider_than_the_screen_and_tables_sort() {
    const NAME: &str = "on_a_phone_nothing_is_wider_than_the_screen_and_tables_sort";
    let Some(browser) = browser() else { return live::skip(NAME, "no Chromium") };
    let page = report_of(&capture(REPORTED), &[]);
    let files = TempDir::new();
    // The browser's own window cannot be that narrow. A frame with the page in it can, and lets itself be measured.
    let frame = page.replace('&', "&amp;").replace('"', "&quot;");
    let measure = "onload=()=>{const f=document.querySelector('iframe'),d=f.contentDocument;\
        const width=d.documentElement.scrollWidth;\
        const head=[...d.querySelectorAll('.sortable th button')].find(b=>b.textContent==='Sent');\
        head.click();\
        const first=d.querySelector('.sortable tbody tr').textContent.includes('weather');\
        const box=d.querySelector('.filter input');box.value='baidu';box.dispatchEvent(new Event('input'));\
        const shown=[...d.querySelectorAll('.sortable tbody tr')].filter(r=>!r.hidden).length;\
        f.remove();document.body.textContent=`width ${width} sorted ${first} shown ${shown}`}";
    let wrapper = format!(
        "<!doctype html><meta charset=utf-8><body><iframe style=\"width:360px;height:800px;border:0\" srcdoc=\"{frame}\"></iframe><script>{measure}</script>"
    );
    let path = files.write("phone.html", wrapper.as_bytes());
    let output = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-dev-shm-usage", "--no-default-browser-check", "--hide-scrollbars", "--dump-dom"])
        .arg(format!("--user-data-dir={}", files.path().join("profile").display()))
        .arg(format!("file://{}", path.display()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("width 360 sorted true shown 3"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The browser here, if there is one.
fn browser() -> Option<PathBuf> {
    let names = ["chromium", "google-chrome-stable"];
    names.into_iter().map(|name| Path::new("/usr/bin").join(name)).find(|path| path.exists())
}
