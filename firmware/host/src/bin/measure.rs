//! Measures the runtime on emulated cores, and reports its speed on this machine: one table per core on stdout, and all of
//! it in a JSON file.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use pipsqueak_boards::{
    BASELINES_METHOD, INT4_SUFFIX, Int4Overhead, Measurement, Measurements, criterion_results,
    int4_overheads, measure, method,
};

/// Measurement instructions, cycles and bytes of the runtime on emulated cores.
///
/// A table per core is printed, and the same goes to a file as JSON.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Also report the speed on this machine, as measured by the benchmarks of `make bench`.
    #[arg(long)]
    host: bool,
    /// Where the list goes.
    #[arg(long, value_name = "JSON", default_value = "target/bench.json")]
    out: PathBuf,
    /// Instead, count characters of many shapes and fit the predictions to them anew: writes firmware/host/src/fitted.rs.
    #[arg(long)]
    fit: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let host = Path::new(env!("CARGO_MANIFEST_DIR"));
    let repository = host.join("../..");
    if arguments.fit {
        let fitted = host.join("src/fitted.rs");
        fs::write(&fitted, Measurements::take(&repository)?.fit())
            .map_err(|error| format!("cannot write {}: {error}", fitted.display()))?;
        return Ok(());
    }
    let mut measurements = measure(&repository)?;
    if arguments.host {
        measurements.extend(criterion_results(&repository)?);
    }
    for core in measurements.chunk_by(|a, b| a.core == b.core) {
        print(core);
    }
    println!("\n{BASELINES_METHOD}");
    fs::write(
        &arguments.out,
        serde_json::to_string_pretty(&measurements)? + "\n",
    )
    .map_err(|error| format!("cannot write {}: {error}", arguments.out.display()))?;
    Ok(())
}

fn print(measurements: &[Measurement]) {
    println!(
        "\n{:<20} {:>10} {:<17}  {:>7}  {:>9}  baseline",
        measurements[0].core, "ours", "", "per MAC", "baseline"
    );
    for count in measurements {
        let macs = multiplications(count.what).filter(|_| count.unit != "tokens_per_second");
        let each = macs.map_or(String::new(), |n| {
            format!("{:.3}", count.value as f64 / n as f64)
        });
        let baseline = count
            .baseline_value
            .map_or(String::new(), |value| value.to_string());
        let line = format!(
            "{:<20} {:>10} {:<17}  {each:>7}  {baseline:>9}  {}",
            count.what,
            count.value,
            count.unit,
            count.baseline.unwrap_or_default()
        );
        println!("{}", line.trim_end());
    }
    for Int4Overhead {
        what, unit, ratio, ..
    } in int4_overheads(measurements)
    {
        println!("{what}: 4-bit rows take {ratio:.3} times the {unit} of 8-bit rows");
    }
    println!("Ours: {}.", method(measurements[0].core));
}

/// Multiply-accumulates of a matrix-vector product, by its name.
fn multiplications(what: &str) -> Option<u64> {
    let matrix = what.strip_prefix("matvec_")?;
    let matrix = matrix.strip_suffix(INT4_SUFFIX).unwrap_or(matrix);
    let (rows, columns) = matrix.split_once('x')?;
    Some(rows.parse::<u64>().ok()? * columns.parse::<u64>().ok()?)
}
