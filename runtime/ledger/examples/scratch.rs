use rusqlite::{Connection, params};
use std::time::Instant;
fn cpu() -> (f64, f64) {
    let t = std::fs::read_to_string("/proc/self/stat").unwrap();
    let v: Vec<u64> = t.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2).map(|x| x.parse().unwrap()).collect();
    (v[0] as f64 / 100.0, v[1] as f64 / 100.0)
}
fn mix(s: &mut u64) -> u64 {
    *s = s.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*s ^ (*s >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
fn blind(n: u64) -> [u8; 17] {
    let mut s = n;
    let mut v = [1u8; 17];
    v[1..9].copy_from_slice(&mix(&mut s).to_be_bytes());
    v[9..].copy_from_slice(&mix(&mut s).to_be_bytes());
    v
}
fn open(name: &str, page: i64, cache: i64, ckpt: i64) -> Connection {
    let p = format!("/work/scratch-{name}.db");
    for s in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{p}{s}"));
    }
    let c = Connection::open(&p).unwrap();
    c.execute_batch(&format!("PRAGMA page_size={page}; PRAGMA journal_mode=wal; PRAGMA synchronous=full; PRAGMA secure_delete=on; PRAGMA cache_size=-{cache}; PRAGMA wal_autocheckpoint={ckpt}; PRAGMA journal_size_limit=67108864;")).unwrap();
    c
}
fn report(name: &str, n: f64, f: impl FnOnce()) {
    let a = cpu();
    let t = Instant::now();
    f();
    let b = cpu();
    println!(
        "{name:<52} user {:.2} sys {:.2} wall {:.2} us",
        (b.0 - a.0) * 1e6 / n,
        (b.1 - a.1) * 1e6 / n,
        t.elapsed().as_secs_f64() * 1e6 / n
    );
}
fn main() {
    let n = 1_000_000u64;
    let which = std::env::args().nth(1).unwrap();
    if which == "value" {
        for (page, cache) in [(4096, 32768), (8192, 32768), (16384, 32768), (4096, 131072)] {
            let mut rows: Vec<(u16, [u8; 17], i64)> = (0..n).map(|i| ((i % 3) as u16, blind(i), i as i64)).collect();
            rows.sort_unstable();
            let mut c = open("v", page, cache, 16384 * 4096 / page);
            c.execute_batch("CREATE TABLE t(kind INTEGER NOT NULL, value BLOB NOT NULL, node INTEGER NOT NULL, PRIMARY KEY(kind,value,node)) STRICT, WITHOUT ROWID").unwrap();
            report(&format!("kind,value,node ignore page {page} cache {cache}"), n as f64, || {
                let t = c.transaction().unwrap();
                {
                    let mut s = t.prepare("INSERT OR IGNORE INTO t VALUES(?1,?2,?3)").unwrap();
                    for r in &rows {
                        s.execute(params![r.0, r.1, r.2]).unwrap();
                    }
                }
                t.commit().unwrap();
            });
        }
        let mut rows: Vec<(u16, [u8; 17], i64)> = (0..n).map(|i| ((i % 3) as u16, blind(i), i as i64)).collect();
        rows.sort_unstable();
        let mut c = open("v", 4096, 32768, 16384);
        c.execute_batch(
            "CREATE TABLE t(value BLOB NOT NULL, node INTEGER NOT NULL, PRIMARY KEY(value,node)) STRICT, WITHOUT ROWID",
        )
        .unwrap();
        report("19-byte,node ignore", n as f64, || {
            let t = c.transaction().unwrap();
            {
                let mut s = t.prepare("INSERT OR IGNORE INTO t VALUES(?1,?2)").unwrap();
                for r in &rows {
                    let mut b = [0u8; 19];
                    b[..2].copy_from_slice(&r.0.to_be_bytes());
                    b[2..].copy_from_slice(&r.1);
                    s.execute(params![b, r.2]).unwrap();
                }
            }
            t.commit().unwrap();
        });
        for k in [4usize, 16, 64] {
            let mut c = open("v", 4096, 32768, 16384);
            c.execute_batch("CREATE TABLE t(kind INTEGER NOT NULL, value BLOB NOT NULL, node INTEGER NOT NULL, PRIMARY KEY(kind,value,node)) STRICT, WITHOUT ROWID").unwrap();
            let sql = format!("INSERT OR IGNORE INTO t VALUES {}", vec!["(?,?,?)"; k].join(","));
            report(&format!("multi {k}"), n as f64, || {
                let t = c.transaction().unwrap();
                {
                    let mut s = t.prepare(&sql).unwrap();
                    for ch in rows.chunks_exact(k) {
                        let mut i = 1;
                        for r in ch {
                            s.raw_bind_parameter(i, r.0).unwrap();
                            s.raw_bind_parameter(i + 1, r.1).unwrap();
                            s.raw_bind_parameter(i + 2, r.2).unwrap();
                            i += 3;
                        }
                        s.raw_execute().unwrap();
                    }
                }
                t.commit().unwrap();
            });
        }
        let mut c = open("v", 4096, 32768, 16384);
        c.execute_batch("CREATE TABLE t(kind INTEGER NOT NULL, value BLOB NOT NULL, node INTEGER NOT NULL, PRIMARY KEY(kind,value,node)) STRICT, WITHOUT ROWID").unwrap();
        report("no commit (just inserts, big cache)", n as f64, || {
            c.execute_batch("PRAGMA cache_size=-400000").unwrap();
            let t = c.transaction().unwrap();
            {
                let mut s = t.prepare("INSERT OR IGNORE INTO t VALUES(?1,?2,?3)").unwrap();
                for r in &rows {
                    s.execute(params![r.0, r.1, r.2]).unwrap();
                }
            }
            t.rollback().unwrap();
        });
        let mut c = open("v", 4096, 32768, 16384);
        c.execute_batch("CREATE TABLE t(node INTEGER NOT NULL, kind INTEGER NOT NULL, value BLOB NOT NULL, a INTEGER, b INTEGER, PRIMARY KEY(node,kind,value)) STRICT, WITHOUT ROWID").unwrap();
        rows.sort_unstable_by_key(|r| (r.2, r.0, r.1));
        report("edge upsert", n as f64, || {
            let t = c.transaction().unwrap();
            {
                let mut s=t.prepare("INSERT INTO t VALUES(?1,?2,?3,?4,?5) ON CONFLICT DO UPDATE SET a=min(a,excluded.a), b=max(b,excluded.b) WHERE excluded.a<a OR excluded.b>b").unwrap();
                for r in &rows {
                    s.execute(params![r.2, r.0, r.1, r.2, r.2]).unwrap();
                }
            }
            t.commit().unwrap();
        });
        let mut c = open("v", 4096, 32768, 16384);
        c.execute_batch("CREATE TABLE t(node INTEGER PRIMARY KEY, edges BLOB) STRICT").unwrap();
        report("edges packed per node (100 B)", n as f64, || {
            let t = c.transaction().unwrap();
            {
                let mut s = t.prepare("INSERT INTO t VALUES(?1,?2)").unwrap();
                let b = [3u8; 102];
                for r in &rows {
                    s.execute(params![r.2, b]).unwrap();
                }
            }
            t.commit().unwrap();
        });
    }
    if which == "node" {
        for (page, cache, ck, k) in [
            (4096i64, 32768i64, 64i64, 1),
            (8192, 32768, 64, 1),
            (16384, 32768, 64, 1),
            (4096, 65536, 64, 1),
            (8192, 65536, 64, 1),
            (8192, 65536, 128, 1),
            (8192, 65536, 256, 1),
        ] {
            let mut c = open("n", page, cache, ck * 1024 * 1024 / page);
            c.execute_batch("CREATE TABLE node(node INTEGER PRIMARY KEY,key BLOB NOT NULL,source INTEGER NOT NULL,first INTEGER NOT NULL) STRICT; CREATE TABLE bk(key BLOB PRIMARY KEY,node INTEGER NOT NULL) STRICT, WITHOUT ROWID; CREATE TABLE nk(node INTEGER PRIMARY KEY, w BLOB NOT NULL) STRICT").unwrap();
            let _ = k;
            report(&format!("node page {page} cache {cache} ckpt {ck} MB"), n as f64, || {
                for e in 0..20u64 {
                    let mut rows: Vec<([u8; 17], i64)> = (e * 50000..(e + 1) * 50000).map(|i| (blind(i), i as i64)).collect();
                    let t = c.transaction().unwrap();
                    {
                        let mut a = t.prepare_cached("INSERT INTO node VALUES(?1,?2,?3,?4)").unwrap();
                        let mut b = t.prepare_cached("INSERT INTO nk VALUES(?1,?2)").unwrap();
                        let w = [5u8; 108];
                        for r in &rows {
                            a.execute(params![r.1, r.0, 1, r.1]).unwrap();
                            b.execute(params![r.1, w]).unwrap();
                        }
                        rows.sort_unstable();
                        let mut k = t.prepare_cached("INSERT OR IGNORE INTO bk VALUES(?1,?2)").unwrap();
                        for r in &rows {
                            k.execute(params![r.0, r.1]).unwrap();
                        }
                    }
                    t.commit().unwrap();
                }
            });
            let size = std::fs::metadata("/work/scratch-n.db").unwrap().len() >> 20;
            println!("   file {size} MiB");
        }
    }
}
