//! `cargo xtask worldmap`: rebuilds the map of the world that reports draw on.
//!
//! Flows in: Natural Earth as the npm package `world-atlas` carries it, and the codes of `i18n-iso-countries`. Flows out:
//! `data/worldmap.tsv`: per country a point, and its outline in whole numbers, projected and simplified. Borders stay shared:
//! what is simplified is the arc between two countries, once for both.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

mod draw;
mod project;
mod simplify;
mod topology;

use crate::geodata::fetch::Package;
use draw::Outline;
use project::HEIGHT;
use topology::{Shape, Topology};

const ATLAS: Package = Package {
    name: "world-atlas",
    version: "2.0.2",
    integrity: "sha512-IXfV0qwlKXpckz1FhwXVwKRjiIhOnWttOskm5CtxMsjgE/MXAYRHWJqgXOpM8IkcPBoXnyTU5lFHcYa5ChG0LQ==",
};
const CODES: Package = crate::geodata::NAMES;

/// Land with a government of its own and without a code of ISO 3166: drawn, but never shaded.
const NO_CODE: &str = "-";
/// Kosovo has a code in common use, and none in the atlas.
const BY_NAME: [(&str, &str); 1] = [("Kosovo", "XK")];
/// Not drawn: the projection would make a wide strip of it that no figure belongs to. It has a point.
const NOT_DRAWN: [&str; 1] = ["AQ"];

/// Points of countries that the atlas draws as a part of another one, or not at all: longitude and latitude, degrees.
const POINTS: [(&str, f64, f64); 17] = [
    ("AQ", 20.0, -56.9),
    ("BQ", -68.26, 12.18),
    ("BV", 3.36, -54.42),
    ("CC", 96.87, -12.16),
    ("CX", 105.65, -10.49),
    ("GF", -53.1, 3.9),
    ("GI", -5.35, 36.14),
    ("GP", -61.55, 16.25),
    ("MQ", -61.02, 14.65),
    ("RE", 55.53, -21.13),
    ("SJ", 16.0, 78.4),
    ("TK", -171.85, -9.2),
    ("TV", 179.2, -8.5),
    ("UM", -160.0, 0.0),
    ("YT", 45.16, -12.83),
    ("TF", 69.35, -49.35),
    ("HM", 73.51, -53.1),
];

#[derive(clap::Args)]
pub struct WorldmapArgs {
    /// Take the npm packages (NAME-VERSION.tgz) from this directory instead of the registry
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Write nothing: report whether data/ is what the packages give
    #[arg(long)]
    check: bool,
}

/// Rebuilds the map.
///
/// # Errors
/// A package that is missing or has another checksum, an atlas of another form, a country without a point.
pub fn run(args: &WorldmapArgs) -> Result<()> {
    let root = crate::workspace::root();
    let cache = root.join("target/geodata");
    let from = args.from.as_deref();
    let atlas = ATLAS.file(&ATLAS.bytes(from, &cache)?, "countries-50m.json")?;
    let codes = CODES.file(&CODES.bytes(from, &cache)?, "codes.json")?;
    let text = map(&Topology::read(&atlas).context("read the atlas")?, &alpha_2(&codes)?)?;
    let path = root.join("data/worldmap.tsv");
    is_complete(&text, &root.join("data/countries.tsv"))?;
    if args.check {
        let there = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        ensure!(
            there == text,
            "data/worldmap.tsv differs from what its sources give: run `cargo xtask worldmap`"
        );
        println!("data/worldmap.tsv is what its sources give");
    } else {
        fs::write(&path, &text).with_context(|| format!("write {}", path.display()))?;
        println!("wrote data/worldmap.tsv, {} bytes", text.len());
    }
    Ok(())
}

/// Alpha-2 codes by numeric ones, as `codes.json` has them: `["AF","AFG","004",…]`.
fn alpha_2(json: &[u8]) -> Result<HashMap<String, String>> {
    let rows: Vec<Vec<String>> = serde_json::from_slice(json).context("read codes.json")?;
    let pair = |row: Vec<String>| Some((row.get(2)?.clone(), row.first()?.clone()));
    Ok(rows.into_iter().filter_map(pair).collect())
}

/// The file's text.
fn map(atlas: &Topology, codes: &HashMap<String, String>) -> Result<String> {
    let mut countries: BTreeMap<String, Outline> = BTreeMap::new();
    for shape in &atlas.shapes {
        let code = code(shape, codes);
        let outline = draw::outline(atlas, shape);
        if NOT_DRAWN.contains(&code.as_str()) {
            continue;
        }
        countries.entry(code).or_default().add(&outline);
    }
    for (code, longitude, latitude) in POINTS {
        countries.entry(code.to_owned()).or_default().point = Some(project::project(longitude, latitude));
    }
    let mut text = format!(
        "# Code of ISO 3166-1 alpha-2 (`{NO_CODE}`: land without one), point x and y, outline as the path of an SVG; {} x {HEIGHT}.\n\
         # Equal Earth projection about 11 degrees east. Source: npm {}@{}, countries-50m.json (Natural Earth, public\n\
         # domain), simplified. Made by `cargo xtask worldmap`.\n",
        project::WIDTH,
        ATLAS.name,
        ATLAS.version
    );
    for (code, outline) in &countries {
        let (x, y) = outline.point.with_context(|| format!("{code} has no point"))?;
        writeln!(text, "{code}\t{x:.0}\t{y:.0}\t{}", outline.path)?;
    }
    Ok(text)
}

fn code(shape: &Shape, codes: &HashMap<String, String>) -> String {
    let by_name = || BY_NAME.iter().find(|(name, _)| *name == shape.name).map(|(_, code)| (*code).to_owned());
    let by_number = shape.id.as_ref().and_then(|id| codes.get(id).cloned());
    by_number.or_else(by_name).unwrap_or_else(|| NO_CODE.to_owned())
}

/// Every country that a record may name has a point.
fn is_complete(map: &str, countries: &Path) -> Result<()> {
    let table = fs::read_to_string(countries).with_context(|| format!("read {}", countries.display()))?;
    let first = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
    let there: BTreeSet<String> = map.lines().map(first).collect();
    let missing: Vec<String> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(first)
        .filter(|code| !there.contains(code))
        .collect();
    ensure!(missing.is_empty(), "no point for {}: add them to POINTS", missing.join(", "));
    Ok(())
}
