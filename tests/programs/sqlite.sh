#!/usr/bin/env bash
# sqlite3: big tables, indices, joins, blobs, temporary b-trees; the output must equal a plain run.
# shellcheck source=tests/lib.sh disable=SC2317  # functions are called through check and wait_for
. "$(dirname "$0")/../lib.sh"
need sqlite3
need_lib

cat >"$TMP/work.sql" <<'END'
PRAGMA journal_mode = MEMORY;
PRAGMA cache_size = -64000;
CREATE TABLE t(id INTEGER PRIMARY KEY, k INTEGER, name TEXT, body BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
INSERT INTO t SELECT i, (i * 7919) % 100003, printf('name-%d-%s', i, hex(i * 31)),
	zeroblob(16 + (i * 37) % 300) FROM n;
CREATE INDEX t_k ON t(k);
CREATE INDEX t_name ON t(name, k);
CREATE TABLE big(id INTEGER PRIMARY KEY, body TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
INSERT INTO big SELECT i, replace(hex(zeroblob(i * 120)), '00', printf('%04d', i)) FROM n;
SELECT count(*), sum(length(body)), min(body), max(length(body)) FROM big;
SELECT k % 100 AS g, count(*), sum(id), group_concat(id % 10, '') FROM t WHERE id < 40000 GROUP BY g ORDER BY g;
SELECT a.id, b.id, a.name FROM t a JOIN t b ON a.k = b.k AND a.id < b.id WHERE a.id % 997 = 0 ORDER BY 1, 2;
UPDATE t SET name = name || substr(name, 1, id % 20) WHERE id % 3 = 0;
DELETE FROM t WHERE id % 5 = 0;
SELECT name, row_number() OVER (PARTITION BY k % 7 ORDER BY name DESC) AS r FROM t WHERE id % 401 = 0 ORDER BY name;
VACUUM;
PRAGMA integrity_check;
SELECT count(*), sum(k), sum(length(name)), sum(length(body)), max(name) FROM t;
.sha3sum
END

work() { # work LIBRARY NAME
	LD_PRELOAD=$1 sqlite3 -batch "$TMP/$2.db" <"$TMP/work.sql" >"$TMP/$2.out" 2>&1
}

uses_lib "sqlite3 takes its malloc from the library" sqlite3 :memory: 'SELECT hex(zeroblob(4000));'
check "a plain run succeeds" work "" plain
check "a run under preload succeeds" work "$LIB" hakmem
check "the checks of sqlite3 itself pass" grep -qx ok "$TMP/hakmem.out"
check "there is output" test "$(wc -l <"$TMP/plain.out")" -gt 500
same "the output equals a plain run's" "$TMP/plain.out" "$TMP/hakmem.out"
same "the data base file equals a plain run's" "$TMP/plain.db" "$TMP/hakmem.db"
finish
