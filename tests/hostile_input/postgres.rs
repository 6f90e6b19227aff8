//! A PostgreSQL server that is not the one it should be.

use std::io;
use std::time::{Duration, Instant};

use crate::LIMIT;
use crate::postgres_server::*;
use crate::program::{Run, Site};

/// As it is typed into a URL, and as it is.
const TYPED: &str = "hush%2Fsecret%40word%25";
const PASSWORD: &str = "hush/secret@word%";

/// `catalog check` of a server, within the least memory.
fn check(server: &PostgresServer, parameters: &str, more: &[&str]) -> Run {
    let site = Site::new();
    let uri = format!("uri={}", server.uri(&format!("me:{TYPED}"), parameters));
    let all = ["catalog", "check", "--catalog-property", &uri, "--warehouse", "w"];
    let (run, peak) = site.measured(&[&all, more].concat());
    assert!(peak <= LIMIT, "{peak} MiB");
    for form in [PASSWORD, TYPED, "hush"] {
        assert!(!run.stdout.contains(form) && !run.stderr.contains(form), "{form}:\n{}\n{}", run.stdout, run.stderr);
    }
    run.expect_check(1)
}

fn holds(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
fn a_password_is_not_sent_in_clear_unless_that_is_said() {
    let ask = |client: &mut Client| {
        client.authentication(CLEARTEXT, b"")?;
        let password = client.password()?;
        client.send(&said(b'E', "FATAL", "28P01", &format!("the password {password:?} of me:{password}@ is wrong")))
    };
    for parameters in ["", "?sslmode=prefer", "?sslmode=allow"] {
        let server = PostgresServer::start(ask);
        let run = check(&server, parameters, &[]);
        assert!(run.message().contains("the server asks for the password as it is"), "{}", run.message());
        assert!(run.message().contains("sslmode=verify-full") && run.message().contains("sslmode=disable"));
        assert!(!holds(&server.received(), PASSWORD), "{parameters}: it was sent");
    }
    // After another way to sign in, too, and once it seems to be over.
    for before in [MD5, SIGNED_IN] {
        let server = PostgresServer::start(move |client| {
            client.authentication(before, &[1; 4][..if before == MD5 { 4 } else { 0 }])?;
            if before == MD5 {
                client.message()?;
            }
            ask(client)
        });
        check(&server, "", &[]);
        assert!(!holds(&server.received(), PASSWORD), "{before}: it was sent");
    }
    let server = PostgresServer::start(ask);
    for parameters in ["?sslmode=require", "?sslmode=verify-full"] {
        let run = check(&server, parameters, &[]);
        assert!(run.message().contains("TLS"), "{}", run.message());
        assert!(!holds(&server.received(), PASSWORD) && !holds(&server.received(), "me\0"));
    }
    let run = check(&server, "?sslmode=disable", &[]);
    assert!(holds(&server.received(), PASSWORD));
    assert!(
        run.message().contains("refused the sign-in: the password \"***\" of me:***@ is wrong"),
        "{}",
        run.message()
    );
}

/// Wherever it is said: in errors at each moment, in notices, and loudly.
#[test]
fn a_password_that_comes_back_is_not_printed() {
    let base64 = "aHVzaC9zZWNyZXRAd29yZCU=";
    let echo = format!("{PASSWORD} {TYPED} postgresql://me:{TYPED}@h/d {base64} hush%2fsecret%40word%25");
    for code in ["28P01", "3D000", "42501", "XX000", "99999"] {
        for early in [true, false] {
            let echo = echo.clone();
            let server = PostgresServer::start(move |client| {
                client.send(&said(b'N', "WARNING", "01000", &echo))?;
                if !early {
                    client.ready()?;
                    client.message()?;
                }
                client.send(&said(b'N', "NOTICE", "00000", &echo))?;
                client.send(&said(b'E', "FATAL", code, &echo))
            });
            for more in [&[][..], &["-v"], &["-vvv"], &["--quiet"]] {
                let run = check(&server, "", more);
                assert!(run.message().contains("*** *** postgresql://me:***@h/d ***"), "{}", run.message());
                assert_eq!(more == ["--quiet"], !run.stderr.contains("WARN"), "{}", run.stderr);
            }
        }
    }
}

#[test]
fn what_a_server_refuses_has_a_way_out() {
    for (code, out) in [
        ("25006", "the address of the primary"),
        ("0A000", "the address of the primary"),
        ("53300", "when others have disconnected"),
        ("57P01", "when the server is up"),
        ("57P03", "when the server is up"),
        ("55P03", "pg_stat_activity"),
        ("22001", "a shorter warehouse, namespace or table"),
        ("42501", "SELECT, INSERT and UPDATE on iceberg_tables"),
    ] {
        let server = PostgresServer::start(move |client| {
            client.ready()?;
            client.message()?;
            client.send(&said(b'E', "ERROR", code, "it can't be"))
        });
        let run = check(&server, "", &[]);
        assert!(run.message().contains(out), "{code}: {}", run.message());
    }
}

fn for_ever(client: &mut Client, mut piece: impl FnMut(usize) -> Vec<u8>) -> io::Result<()> {
    (0..).try_for_each(|n| client.send(&(n * 100..(n + 1) * 100).flat_map(&mut piece).collect::<Vec<_>>()))
}

#[test]
fn rows_have_an_end() {
    let server = PostgresServer::start(|client| {
        client.ready()?;
        client.message()?;
        client.send(&message(b'1', b""))?;
        client.send(&message(b't', b"\0\0"))?;
        client.send(&message(b'T', b"\0\x01attname\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"))?;
        client.send(&message(b'Z', b"I"))?;
        client.send(&message(b'2', b""))?;
        for_ever(client, |_| message(b'D', b"\0\x01\0\0\0\x04name"))
    });
    let site = Site::new();
    let uri = format!("uri={}", server.uri("me", ""));
    let (run, peak) = site.measured(&["status", "--catalog-property", &uri, "--warehouse", "w"]);
    assert!(peak <= LIMIT, "{peak} MiB");
    let run = run.expect(1);
    assert!(run.message().contains("is longer than 4 MiB"), "{}", run.message());
}

/// Whoever knows the password without being told by the uri.
#[test]
fn passwords_of_variables_and_files_are_not_printed_either() {
    use std::os::unix::fs::PermissionsExt as _;

    let server = PostgresServer::start(|client| {
        client.authentication(CLEARTEXT, b"")?;
        let password = client.password()?;
        client.send(&said(b'E', "FATAL", "28P01", &format!("no {password}")))
    });
    let uri = server.uri("me", "?sslmode=disable");
    for of_file in [false, true] {
        let site = Site::new();
        let mut command = site.command(&["catalog", "check", "--warehouse", "w", "--format", "json"]);
        command.env("PYICEBERG_CATALOG__DEFAULT__URI", &uri);
        if of_file {
            let file = site.path().join(".pgpass");
            std::fs::write(&file, "# mine\n*:*:*:me:hush\\:se\\\\cret\n").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        } else {
            command.env("PGPASSWORD", "hush:se\\cret");
        }
        let run = Run::of(command.output().unwrap()).expect_check(1);
        assert!(holds(&server.received(), "hush:se\\cret"));
        assert!(run.message().contains("refused the sign-in: no ***"), "{}", run.message());
    }
}

/// Each of these would go on for ever, or take all memory.
#[test]
fn what_a_server_sends_has_an_end() {
    type Script = fn(&mut Client) -> io::Result<()>;
    let scripts: [(&str, Script); 8] = [
        ("parameters", |client| {
            for_ever(client, |n| message(b'S', format!("{n:0100}\0{}\0", "x".repeat(1000)).as_bytes()))
        }),
        ("notices", |client| for_ever(client, |_| said(b'N', "DEBUG", "00000", &"x".repeat(1000)))),
        ("a long message", |client| {
            client.send(&[b'E', 0x7f, 0xff, 0xff, 0xff])?;
            for_ever(client, |_| vec![b'x'; 1000])
        }),
        ("a very long message", |client| {
            client.send(&[b'E', 0xff, 0xff, 0xff, 0xff])?;
            for_ever(client, |_| vec![b'x'; 1000])
        }),
        ("no message", |client| client.send(&[b'R', 0, 0, 0, 0, 0, 0, 0, 0])),
        ("half a message", |client| client.send(&[b'R', 0, 0, 0, 7, 0, 0, 0])),
        ("something else", |client| for_ever(client, |_| b"HTTP/1.1 400 Bad Request\r\n".to_vec())),
        ("a long row", |client| {
            client.ready()?;
            client.message()?;
            client.send(&[b'D', 0x7f, 0xff, 0xff, 0xff])?;
            for_ever(client, |_| vec![b'x'; 1000])
        }),
    ];
    for (what, script) in scripts {
        let server = PostgresServer::start(script);
        let started = Instant::now();
        let run = check(&server, "?sslmode=disable", &[]);
        assert!(started.elapsed() < Duration::from_secs(20), "{what}: {:?}", started.elapsed());
        let expected = ["is longer than 4 MiB", "does not speak PostgreSQL's protocol"];
        assert!(expected.iter().any(|expected| run.message().contains(expected)), "{what}: {}", run.message());
    }
}

/// Any bytes, and any order of messages that are whole: an error, and neither a panic nor a wait.
#[test]
fn any_bytes_are_an_error() {
    let bytes = |seed: u64, length: usize| -> Vec<u8> {
        let mut random = crate::random::Random::new(seed);
        (0..length).map(|_| u8::try_from(random.below(256)).unwrap()).collect()
    };
    for seed in 0..60 {
        let server = PostgresServer::start(move |client| {
            if seed % 3 > 0 {
                client.ready()?;
                client.message()?;
            }
            let kinds = b"RSNEKZ12DTCnstI3AtGHWdcv";
            for n in 0..40 {
                let noise = bytes(seed * 1000 + n, 30);
                let kind = kinds[usize::from(noise[0]) % kinds.len()];
                let body = &noise[2..2 + usize::from(noise[1]) % 28];
                client.send(&if seed % 2 == 0 { message(kind, body) } else { noise.clone() })?;
            }
            Ok(())
        });
        check(&server, "?sslmode=disable", &[]);
    }
}
