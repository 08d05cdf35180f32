//! `cargo xtask screenshots`: what the report of the recorded story looks like, for the documentation.
//!
//! Flows in: the story of tests/scenarios, told by the tracer that is built here. Flows out: `docs/images/report-*.png`, made by
//! a Chromium without a window, in light and dark, as wide as a desk's screen and as a phone's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{shell, workspace};

/// What a picture may weigh: readers of the README load it.
const HEAVIEST: u64 = 400_000;
/// Pixels.
const DESK: (u32, u32) = (1200, 1500);
const PHONE: (u32, u32) = (390, 800);
/// Screens of a phone beside each other, each where the one before it ends.
const SCREENS: u32 = 3;
const BETWEEN: u32 = 24;

/// Makes the pictures.
///
/// # Errors
/// When something is not built, there is no browser, or a picture is too heavy.
pub fn run() -> Result<()> {
    let browser = ["chromium", "google-chrome-stable", "google-chrome"]
        .into_iter()
        .find_map(shell::find_program)
        .context("there is no Chromium; Debian: apt-get install chromium")?;
    let directory = workspace::target().join("screenshots");
    workspace::create_dir(&directory)?;
    let page = report(&directory)?;
    let images = workspace::root().join("docs/images");
    workspace::create_dir(&images)?;
    let overview = overview_page(&directory, &page)?;
    let phone = phone_page(&directory, &page)?;
    let width = SCREENS * (PHONE.0 + BETWEEN) + BETWEEN;
    for (scheme, name) in [(1, "light"), (0, "dark")] {
        let pictures = [
            (&page, "desktop", DESK),
            (&overview, "overview", DESK),
            (&phone, "phone", (width, PHONE.1 + 2 * BETWEEN)),
        ];
        for (page, what, size) in pictures {
            let image = images.join(format!("report-{what}-{name}.png"));
            photograph(&browser, page, size, scheme, &image)?;
        }
    }
    Ok(())
}

/// The report of the story.
fn report(directory: &Path) -> Result<PathBuf> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--package", "tracer", "--package", "tracer-tests-scenarios", "--bins"]);
    let built = workspace::build_executables(cargo)?;
    let program = |name: &str| {
        let found = built.iter().find(|executable| executable.name == name && !executable.test);
        found.map(|executable| executable.path.clone()).with_context(|| format!("cargo built no {name}"))
    };
    let capture = directory.join("afternoon.jsonl");
    let page = directory.join("report.html");
    fs::write(&capture, shell::capture(&mut Command::new(program("story")?))?)
        .with_context(|| format!("write {}", capture.display()))?;
    let mut tracer = Command::new(program("tracer")?);
    tracer.arg("report").arg(&capture).arg("--output").arg(&page).args(["--title", "Phone, first afternoon"]);
    tracer.arg("--geo").arg(workspace::root().join("tests/golden/mmdb/made/xperia.mmdb"));
    shell::run(&mut tracer)?;
    Ok(page)
}

/// What stands below the findings: a window's own place on its page does not show in a picture, that of a frame does.
fn overview_page(directory: &Path, page: &Path) -> Result<PathBuf> {
    let text = format!(
        "<!doctype html><meta charset=utf-8><style>:root{{color-scheme:light dark}}body{{margin:0}}\
         iframe{{border:0;width:{}px;height:{}px;display:block}}</style><iframe src=\"{}#overview\"></iframe>",
        DESK.0,
        DESK.1,
        page.display()
    );
    let path = directory.join("overview.html");
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// A browser's window cannot be as narrow as a phone: frames can.
fn phone_page(directory: &Path, page: &Path) -> Result<PathBuf> {
    let (width, height) = PHONE;
    let screens: String = (0..SCREENS)
        .map(|screen| {
            let above = screen * height;
            let whole = height * SCREENS;
            format!(
                "<div><iframe src=\"{}\" style=\"height:{whole}px;margin-top:-{above}px\"></iframe></div>",
                page.display()
            )
        })
        .collect();
    let text = format!(
        "<!doctype html><meta charset=utf-8><style>:root{{color-scheme:light dark}}\
         body{{margin:0;padding:{BETWEEN}px;display:flex;gap:{BETWEEN}px;background:light-dark(#d9d6cf,#2b3036)}}\
         div{{width:{width}px;height:{height}px;overflow:hidden;border-radius:14px}}\
         iframe{{border:0;width:{width}px;display:block}}</style>{screens}"
    );
    let path = directory.join("phone.html");
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

fn photograph(browser: &Path, page: &Path, size: (u32, u32), scheme: u8, image: &Path) -> Result<()> {
    let profile = workspace::target().join("screenshots/profile");
    let _ = fs::remove_dir_all(&profile);
    let mut command = Command::new(browser);
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.args(["--disable-dev-shm-usage", "--hide-scrollbars", "--allow-file-access-from-files"]);
    command.arg(format!("--user-data-dir={}", profile.display()));
    command.arg(format!("--blink-settings=preferredColorScheme={scheme}"));
    command.arg(format!("--window-size={},{}", size.0, size.1));
    command.arg(format!("--screenshot={}", image.display()));
    command.arg(format!("file://{}", page.display()));
    shell::capture(&mut command)?;
    let bytes = fs::metadata(image).with_context(|| format!("look at {}", image.display()))?.len();
    ensure!(bytes <= HEAVIEST, "{} has {bytes} bytes, more than {HEAVIEST}", image.display());
    shell::say(format!("{}: {bytes} bytes", image.display()));
    Ok(())
}
