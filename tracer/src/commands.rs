//! One function per command; `run` has a module of its own.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::CommandFactory;

use crate::cli::{
    AppsArgs, Cli, Command, DataArgs, DoctorArgs, GeoArgs, JudgeArgs, ServicesArgs, ServicesCommand,
};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::enrich::app::{self, AppTable};
use crate::enrich::geo::{self, Geo};
use crate::failure::Failure;
use crate::judge::Expectations;
use crate::judge::services::command;
use crate::kernel::{doctor, features::Features, hooks::Hooks};
use crate::{ledger, record, replay, report, run};

/// Runs what was asked for.
///
/// # Errors
/// Whatever ended it, with its exit code.
pub fn execute(cli: Cli) -> Result<(), Failure> {
    let result = match cli.command {
        None => return run::run(Config::try_from(cli.run)?),
        Some(Command::Run(args)) => return run::run(Config::try_from(args)?),
        Some(Command::Snapshot(args)) => run::list_open(args),
        Some(Command::Doctor(args)) => doctor(&args),
        Some(Command::Apps(args)) => apps(args),
        Some(Command::Geo(args)) => geo(&args),
        Some(Command::Replay(args)) => replay::replay(&args),
        Some(Command::Report(args)) => report::report(&args),
        Some(Command::Services(args)) => services(args),
        Some(Command::Ledger(args)) => ledger::ledger(&args),
        Some(Command::Ack(args)) => ledger::ack(&args),
        Some(Command::Schema) => schema(),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "tracer", &mut io::stdout());
            Ok(())
        }
        Some(Command::Man { directory }) => clap_mangen::generate_to(Cli::command(), &directory)
            .with_context(|| format!("cannot write manual pages into {}", directory.display()))
            .map_err(Failure::from),
    };
    match result {
        // `tracer apps | head` is no error.
        Err(Failure::Runtime(error)) if is_closed_pipe(&error) => Ok(()),
        other => other,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let is_broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    };
    error.chain().any(is_broken_pipe)
}

fn doctor(args: &DoctorArgs) -> Result<(), Failure> {
    let report = doctor::examine(&Features::detect(), Hooks::new(args.hooks.clone()));
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &report).map_err(anyhow::Error::from)?;
        writeln!(out)?;
    } else {
        doctor::print(&report, &mut out)?;
    }
    if report.works {
        return Ok(());
    }
    let missing = report.checks.into_iter().filter(|check| check.status == doctor::Status::Missing);
    Err(Failure::Unsupported(
        missing
            .filter_map(|check| Some((format!("{}: {}", check.name, check.found), check.remedy?)))
            .collect(),
    ))
}

fn apps(args: AppsArgs) -> Result<(), Failure> {
    let given = args.data.android_root.is_some();
    let root = args.data.android_root.unwrap_or_else(|| PathBuf::from("/"));
    let (table, warnings) = AppTable::load(&root, given);
    warn(&warnings);
    let mut out = io::BufWriter::new(io::stdout().lock());
    app::print(&table, args.json, &mut out, &mut io::stderr())?;
    out.flush()?;
    Ok(())
}

fn geo(args: &GeoArgs) -> Result<(), Failure> {
    let geo = load_geo(&args.data)?;
    geo::answer(&geo, &args.addresses, &mut io::stdout().lock())?;
    Ok(())
}

/// Loads the databases and warns of those that are old.
///
/// # Errors
/// As of [`geo_or_usage`].
pub fn load_geo(data: &DataArgs) -> Result<Geo, Failure> {
    let (geo, warnings) = geo_or_usage(&data.geo)?;
    warn(&warnings);
    Ok(geo)
}

/// Loads the databases; a file of the user that cannot be used is a bad input file.
///
/// # Errors
/// The file with its reason.
pub fn geo_or_usage(files: &[PathBuf]) -> Result<(Geo, Vec<String>), Failure> {
    Geo::load(files, Clock::wall()).map_err(|error| Failure::usage(error.to_string()))
}

fn services(args: ServicesArgs) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match args.command {
        Some(ServicesCommand::Check(check)) => {
            let (expectations, warnings) = expectations(&check.judge)?;
            warn(&warnings);
            let geo = load_geo(&check.data)?;
            let targets = check.targets.iter().map(|text| text.parse().map_err(Failure::usage));
            let targets = targets.collect::<Result<Vec<_>, _>>()?;
            command::check(&expectations, &geo, &targets, check.app.as_deref(), check.json, &mut out)?;
        }
        None => {
            let (expectations, warnings) = expectations(&args.judge)?;
            warn(&warnings);
            command::list(&expectations.services, args.word.as_deref(), args.json, &mut out)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Loads what the user wants to be judged by; a file that cannot be used is a bad input file.
///
/// # Errors
/// The file with its reason.
pub fn expectations(args: &JudgeArgs) -> Result<(Expectations, Vec<String>), Failure> {
    Expectations::load(config::home(args)?, &args.files()).map_err(Failure::usage)
}

fn schema() -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &record::schema()).map_err(anyhow::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// Standard output, or a file in its place.
///
/// # Errors
/// When it cannot be created.
pub fn open_output(path: Option<&Path>) -> Result<File, Failure> {
    match path {
        None => Ok(io::stdout().as_fd().try_clone_to_owned()?.into()),
        Some(path) => File::create(path).map_err(|error| {
            Failure::usage(format!("--output {}: could not be created: {error}", path.display()))
        }),
    }
}

/// Warnings go to standard error: standard output carries records only.
pub fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("tracer: warning: {warning}");
    }
}
