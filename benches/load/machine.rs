//! What the operating system says of a process: CPU time and memory, from `/proc` (proc(5)).

use super::Failed;

/// Clock ticks a second of `/proc/PID/stat`: 100 on Linux, whatever the kernel's own tick.
const TICKS: f64 = 100.0;

/// User and system time so far, in seconds (fields 14 and 15 of `stat`).
pub fn cpu_seconds(process: u32) -> Result<f64, Failed> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = stat.rsplit_once(") ").ok_or("no name in stat")?.1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).ok_or("no such field in stat");
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}

/// Memory now and at its peak, in kB.
pub fn memory_kb(process: u32) -> Result<(u64, u64), Failed> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line in status")?;
        Ok::<u64, Failed>(value.trim().trim_end_matches(" kB").parse()?)
    };
    Ok((line("VmRSS:")?, line("VmHWM:")?))
}
