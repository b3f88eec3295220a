"""The arms of other projects: hnswlib, usearch and sqlite-vec, each in a process of its own, on one thread.

usage: peers.py ARM --set FOLDER [--rebuild]

Then each line of standard input, `EF FILTER QUERIES ANSWERS-FILE`, is a measurement; the filter must be 1000, which is none, since
hnswlib's calls Python for each row and usearch has none. The rows that were found are written as 32-bit integers. What a library
builds is kept in the set's folder, so that a later process measures the questions only; --rebuild builds it again and measures that.
"""

import argparse
import os
import struct
import sys
import time

import numpy

COUNT = 10
CONNECTIONS = 16
EF_CONSTRUCTION = 200


class Hnswlib:
    def build(self, base, file):
        import hnswlib

        index = hnswlib.Index(space="ip", dim=base.shape[1])
        index.init_index(max_elements=len(base), M=CONNECTIONS, ef_construction=EF_CONSTRUCTION, random_seed=1)
        index.add_items(base, num_threads=1)
        index.save_index(file)

    def open(self, base, file):
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=base.shape[1])
        self.index.load_index(file)

    def ask(self, queries, ef):
        self.index.set_ef(ef)
        # All at once, so that Python's own work counts little.
        return self.index.knn_query(queries, k=COUNT, num_threads=1)[0]


class Usearch:
    def make(self, base):
        from usearch.index import Index

        return Index(
            ndim=base.shape[1],
            metric="ip",
            dtype="f32",
            connectivity=CONNECTIONS,
            expansion_add=EF_CONSTRUCTION,
        )

    def build(self, base, file):
        index = self.make(base)
        index.add(numpy.arange(len(base)), base, threads=1)
        index.save(file)

    def open(self, base, file):
        self.index = self.make(base)
        self.index.load(file)

    def ask(self, queries, ef):
        self.index.expansion_search = ef
        return self.index.search(queries, COUNT, threads=1).keys


class SqliteVec:
    def build(self, base, file):
        database = self.connect(file)
        database.execute(
            f"CREATE VIRTUAL TABLE rows USING vec0(embedding float[{base.shape[1]}] distance_metric=cosine)"
        )
        with database:  # one transaction
            database.executemany(
                "INSERT INTO rows (rowid, embedding) VALUES (?, ?)",
                ((row, embedding.tobytes()) for row, embedding in enumerate(base)),
            )
        database.close()

    def connect(self, file):
        # The sqlite3 module of many Pythons cannot load extensions.
        import apsw
        import sqlite_vec

        database = apsw.Connection(file)
        database.enable_load_extension(True)
        database.load_extension(sqlite_vec.loadable_path())
        # The whole file may stay in memory.
        database.execute("PRAGMA cache_size = -4000000")
        return database

    def open(self, base, file):
        self.database = self.connect(file)

    def ask(self, queries, ef):
        sql = f"SELECT rowid FROM rows WHERE embedding MATCH ? AND k = {COUNT}"
        return [[row for (row,) in self.database.execute(sql, (query.tobytes(),))] for query in queries]


ARMS = {"hnswlib": Hnswlib, "usearch": Usearch, "sqlite-vec": SqliteVec}


def measure(arm, queries, ef, file):
    arm.ask(queries[:10], ef)
    before = time.process_time()
    found = arm.ask(queries, ef)
    print("query_us", (time.process_time() - before) * 1e6 / len(queries), flush=True)
    with open(file, "wb") as answers:
        for rows in found:
            rows = [int(row) for row in rows][:COUNT]
            answers.write(struct.pack("<10i", *(rows + [-1] * (COUNT - len(rows)))))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("arm", choices=ARMS)
    parser.add_argument("--set", required=True)
    parser.add_argument("--rebuild", action="store_true")
    arguments = parser.parse_args()
    base = numpy.load(os.path.join(arguments.set, "base.npy"))
    queries = numpy.load(os.path.join(arguments.set, "queries.npy"))
    arm = ARMS[arguments.arm]()
    file = os.path.join(arguments.set, arguments.arm + ".index")
    built_s = 0
    if arguments.rebuild or not os.path.exists(file):
        fresh = file + ".new"
        if os.path.exists(fresh):
            os.remove(fresh)
        before = time.process_time()
        arm.build(base, fresh)
        built_s = time.process_time() - before
        os.replace(fresh, file)
    arm.open(base, file)
    print("build_s", built_s, flush=True)
    for line in sys.stdin:
        ef, filter, asked, answers = line.rstrip("\n").split(" ", 3)
        assert filter == "1000", "no filter here"
        measure(arm, queries[: int(asked)], int(ef), answers)


main()
