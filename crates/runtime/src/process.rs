//! Metrics of the process itself, read from `/proc`.

use std::fs;

use crate::metrics::Registry;

/// Clock ticks of a second, on every Linux that containers run on.
const TICKS: f64 = 100.0;

/// Reads CPU, memory and files whenever somebody asks for metrics.
pub(crate) fn measure(registry: &Registry) {
    let cpu =
        registry.counter("process_cpu_seconds_total", "Total user and system CPU time in seconds.", &[]);
    let resident = registry.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", &[]);
    let virtual_size = registry.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", &[]);
    let files = registry.gauge("process_open_fds", "Number of open file descriptors.", &[]);
    let most = registry.gauge("process_max_fds", "Maximum number of open file descriptors.", &[]);
    let start =
        registry.gauge("process_start_time_seconds", "Start time since the Unix epoch in seconds.", &[]);
    registry.on_scrape(move || {
        if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(stat) {
            cpu.set(&[], stat.cpu);
            virtual_size.set(&[], stat.size);
            if let Some(booted) = booted() {
                start.set(&[], booted + stat.started);
            }
        }
        if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(held) {
            resident.set(&[], bytes);
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            files.set(&[], open.count() as f64);
        }
        if let Some(limit) = fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(most_files) {
            most.set(&[], limit);
        }
    });
}

#[derive(Debug, PartialEq)]
struct Stat {
    cpu: f64,
    started: f64,
    size: f64,
}

/// The name of the program, in brackets, may contain anything: fields are counted after it.
fn stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.get(text.rfind(')')? + 2..)?.split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    Some(Stat { cpu: (number(11)? + number(12)?) / TICKS, started: number(19)? / TICKS, size: number(20)? })
}

/// Resident bytes. Told in kilobytes here, and elsewhere in pages, whose size differs between machines.
fn held(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
}

fn booted() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn most_files(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_the_program_is_called() {
        let text = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 8 0 12345 1048576 100 0 0";
        let expected = Stat { cpu: 3.0, started: 123.45, size: 1_048_576.0 };
        assert_eq!(stat(text), Some(expected));
        assert_eq!(stat("nonsense"), None);
        assert_eq!(held("VmHWM:\t  900 kB\nVmRSS:\t  400 kB\n"), Some(409_600.0));
        assert_eq!(most_files("Max open files            1024                 4096   files\n"), Some(1024.0));
    }
}
