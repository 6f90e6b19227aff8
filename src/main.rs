//! The program: the command line of [`ddb_iceberg`].

mod cli;

use std::process::ExitCode;

use ddb_iceberg::error::Error;

// glibc's allocator keeps, for each thread that ever ran, memory that the thread no longer uses.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Parsed before anything is started, so that `--help` is fast.
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(code) => return code,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(invocation.threads())
        .thread_name("ddb-iceberg")
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(crate::cli::run::command::run(invocation));
            // A stopped command may have threads that are still computing: they are not waited for.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            let text = format!("threads can't be started: {error}");
            crate::cli::render::printer::error(&Error::failed(text).advice("Try a smaller --threads"))
        }
    }
}
