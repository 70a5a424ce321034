"""What W&B and MLflow are told, by the real packages, and what becomes of their troubles."""

import errno
import io
import json
import os
import pty
import struct
import sys
import threading
import types
from collections import defaultdict
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer

import pytest
import wandb
from detectron2.engine import HookBase
from detectron2.utils.events import EventStorage

from interrupted import assert_same, result, train
from processes import free_port
from sad.engine import watch
from sad.engine.watch import MLflowWatcher, WandbWatcher, check_packages
from sad.utils.errors import UserError

BOTH = ("SAD.WATCH.TO", ("wandb", "mlflow"))


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """MLflow's folder; W&B writes into the run's."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlflow")
    return tmp_path / "mlflow"


class StopAfter(HookBase):
    """A run that ends by an error after so many iterations."""

    def __init__(self, iterations: int):
        self.iterations = iterations

    def after_step(self):
        if self.trainer.iter + 1 == self.iterations:
            raise SystemExit(1)


def wandb_records(file: Path):
    """The records of an offline run: a LevelDB log of protocol buffers, whose blocks are 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, position, record = file.read_bytes(), 7, b""
    while position + 7 <= len(content):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        length, kind = struct.unpack_from("<HB", content, position + 4)
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield Record.FromString(record)
            record = b""


def wandb_runs(folder: Path) -> tuple[list, dict]:
    """What the offline runs of a training's folder hold: (their run records, {step: scalars})."""
    runs, history = [], defaultdict(dict)
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for record in wandb_records(file):
            if record.WhichOneof("record_type") == "run":
                runs.append(record.run)
            if record.WhichOneof("record_type") == "history":
                for item in record.history.item:
                    key = item.key or "/".join(item.nested_key)
                    history[record.history.step.num][key] = json.loads(item.value_json)
    return runs, history


def mlflow_history(client, run) -> dict:
    """{step: scalars}"""
    history = defaultdict(dict)
    for name in run.data.metrics:
        for point in client.get_metric_history(run.info.run_id, name):
            history[point.step][name] = point.value
    return history


def check_holds_metrics(history: dict, metrics: list[dict]) -> None:
    for line in metrics:
        found = history[line["iteration"]]
        wanted = {name: value for name, value in line.items() if name != "iteration"}
        assert {name: found.get(name) for name in wanted} == pytest.approx(wanted, nan_ok=True)


@pytest.mark.slow
def test_a_run_that_is_resumed_is_one_run_that_holds_its_metrics(toy, tmp_path, offline):
    """And trains as one that nobody watches."""
    import mlflow

    output, alone = tmp_path / "watched", tmp_path / "alone"
    opts = ("SOLVER.MAX_ITER", 45, "TEST.EVAL_PERIOD", 15, "SOLVER.CHECKPOINT_PERIOD", 7)
    train(toy.cfg("SAD.yaml", "OUTPUT_DIR", str(alone), *opts))
    cfg = toy.cfg("SAD.yaml", "OUTPUT_DIR", str(output), *opts, *BOTH)
    with pytest.raises(SystemExit):
        train(cfg, hooks=[StopAfter(33)])
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"])
    assert run.info.status == "FAILED"
    train(cfg)

    found, expected = result(output), result(alone)
    ids = {name: state["run_id"] for name, state in found["trainer"]["hooks"].pop("Watch").items()}
    assert_same(found, expected)
    lines = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    assert {line["iteration"] for line in lines} >= {14, 19, 29, 39, 44}

    (run,) = client.search_runs(["0"])
    assert (run.info.run_id, run.info.status) == (ids["mlflow"], "FINISHED")
    assert run.info.run_name == "watched" and run.data.params["SOLVER.MAX_ITER"] == "45"
    check_holds_metrics(mlflow_history(client, run), lines)

    runs, history = wandb_runs(output)
    assert {(run.run_id, run.display_name) for run in runs} == {(ids["wandb"], "watched")}
    configs = [{item.key: item.value_json for item in run.config.update} for run in runs]
    assert any(json.loads(x["SOLVER"])["MAX_ITER"] == 45 for x in configs if "SOLVER" in x)
    check_holds_metrics(history, lines)


@pytest.mark.slow
def test_another_run_in_the_same_process_is_another_run(toy, tmp_path, offline):
    import mlflow

    for name in ("one", "other"):
        opts = ("OUTPUT_DIR", str(tmp_path / name), "SOLVER.MAX_ITER", 2, "DATASETS.TEST", ())
        train(toy.cfg("student.yaml", *opts, "SAD.WATCH.TO", ("mlflow",)), resume=False)
    runs = mlflow.MlflowClient().search_runs(["0"])
    assert sorted(run.info.run_name for run in runs) == ["one", "other"]
    assert not list(tmp_path.glob("*/wandb"))


class Server(ThreadingTCPServer):
    """As much of MLflow's tracking server as a run needs.

    `answers` says with which status, given {name: step}.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.batches, self.answers, self.status = [], lambda _: 200, None
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        info = {"run_id": "a1", "run_uuid": "a1", "experiment_id": "0", "status": "RUNNING",
                "artifact_uri": "mlflow-artifacts:/0/a1", "lifecycle_stage": "active"}  # fmt: skip
        status, answer = 200, {"run": {"info": info, "data": {}}, "run_info": info}
        if self.path.endswith("log-batch") and content.get("metrics"):
            steps = {metric["key"]: metric["step"] for metric in content["metrics"]}
            status = self.server.answers(steps)
            if status == 200:
                self.server.batches.append(steps)
            else:
                code = {400: "BAD_REQUEST", 403: "PERMISSION_DENIED"}.get(status, "INTERNAL_ERROR")
                answer = {"error_code": code, "message": "no"}
        if self.path.endswith("runs/update"):
            self.server.status = content["status"]
        self._answer(status, answer)

    def do_GET(self):
        self._answer(200, {"experiment": {"experiment_id": "0", "name": "Default"}})

    def _answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    server = Server()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    yield server
    server.shutdown()
    server.server_close()


AP = "bbox/AP-dark _red_"  # as MLflow has it


def watched(
    watcher, cfg, iterations, between=lambda iteration: None, names=("bbox/AP-dark (red)",)
) -> None:
    """What a training of so many iterations does, of which each is written.

    The first of `names` has the iteration as its value, each other one 100 more than the last.
    """
    watcher.start(cfg)
    with EventStorage() as storage:
        for iteration in range(iterations):
            storage.iter = iteration
            storage.put_scalars(loss=0.5)
            for n, name in enumerate(names):
                storage.put_scalar(name, 100.0 * n + iteration, smoothing_hint=False)
            watcher.write()
            between(iteration)
        watcher.finished = True
        watcher.close()


def of_mlflow(client) -> tuple[str, dict[str, list[float]]]:
    """(status, {name: value of each iteration}) of the only run."""
    (run,) = client.search_runs(["0"])
    history = mlflow_history(client, run)
    columns = {name: [history[step].get(name) for step in sorted(history)] for name in history[0]}
    return run.info.status, columns


def test_each_class_has_its_own_values_whatever_it_is_called(toy, offline, log):
    import mlflow

    classes = "cat|cat/kitten|cat_kitten|C+|C#|C|C_ 2|cat/kitten/x|..|\u00e4".split("|")
    names = ["bbox/AP", *(f"bbox/AP-{name}" for name in classes), "AP-digits/bbox/AP-a/b"]
    for order in (names, names[::-1]):
        watched(MLflowWatcher(), toy.cfg("student.yaml"), 3, names=order)
        status, found = of_mlflow(mlflow.MlflowClient())
        assert status == "FINISHED" and not [x for x in log if "refuses" in x or "failed" in x]
        renamed = {
            "bbox/AP-cat/kitten": "bbox/AP-cat_kitten 2",
            "bbox/AP-C#": "bbox/AP-C_",
            "bbox/AP-C+": "bbox/AP-C_ 3",
            "bbox/AP-cat/kitten/x": "bbox/AP-cat_kitten_x",
            "AP-digits/bbox/AP-a/b": "AP-digits/bbox/AP-a_b",
        }
        wanted = {
            renamed.get(name, name): [100.0 * n + step for step in range(3)]
            for n, name in enumerate(order)
        }
        assert found == {"loss": [0.5] * 3, **wanted}
        (run,) = mlflow.MlflowClient().search_runs(["0"])
        mlflow.delete_run(run.info.run_id)


@pytest.mark.parametrize("name", [100 * "\u732b", 251 * "a"], ids=["folder", "mlflow"])
def test_a_name_too_long_for_the_folder_or_for_mlflow_costs_no_other(toy, offline, log, name):
    import mlflow

    names = ["bbox/AP", f"bbox/AP-{name}", "bbox/AP-z"]
    watched(MLflowWatcher(), toy.cfg("student.yaml"), 3, names=names)
    status, found = of_mlflow(mlflow.MlflowClient())
    others = {"bbox/AP": [0.0, 1.0, 2.0], "bbox/AP-z": [200.0, 201.0, 202.0]}
    assert (status, found) == ("FINISHED", {"loss": [0.5] * 3, **others})
    assert [name in x for x in log if "mlflow refuses" in x] == [True]
    assert not any("mlflow lacks" in x for x in log)


@pytest.mark.parametrize("names", [[AP], [AP, "loss"]])
def test_what_a_server_refuses_is_dropped_alone(toy, server, log, names):
    server.answers = lambda steps: 400 if set(names) & set(steps) else 200
    watched(MLflowWatcher(), toy.cfg("student.yaml"), 3)
    taken = [] if "loss" in names else [{"loss": n} for n in range(3)]
    assert server.batches == taken and server.status == "FINISHED"
    assert sum("mlflow refuses" in message for message in log) == 1
    assert not any("mlflow lacks" in message for message in log)


@pytest.mark.parametrize("status", [403, 500, 503])
def test_what_a_server_does_not_take_is_sent_again(toy, server, monkeypatch, log, status):
    monkeypatch.setattr(watch, "PAUSE", 0)
    asked = []

    def answers(steps):
        asked.append(steps)
        return status if 3 <= len(asked) <= 5 else 200

    server.answers = answers
    watched(MLflowWatcher(), toy.cfg("student.yaml"), 8)
    assert server.batches == [{"loss": n, AP: n} for n in range(8)]
    assert server.status == "FINISHED"
    assert sum("mlflow has failed" in message for message in log) == 3


def test_what_a_full_disk_does_not_take_is_written_again(toy, offline, monkeypatch, log):
    import mlflow
    from mlflow.store.tracking import file_store

    monkeypatch.setattr(watch, "PAUSE", 0)
    append, asked = file_store.append_to, []

    def full(path, line):
        asked.append(path)
        if 3 <= len(asked) <= 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(path, line)

    monkeypatch.setattr(file_store, "append_to", full)
    watched(MLflowWatcher(), toy.cfg("student.yaml"), 5)
    status, found = of_mlflow(mlflow.MlflowClient())
    assert (status, found) == ("FINISHED", {"loss": [0.5] * 5, AP: [0.0, 1.0, 2.0, 3.0, 4.0]})
    assert sum("mlflow has failed" in message for message in log) == 3


def test_a_server_that_dies_stops_nothing_and_is_left_alone(toy, server, log):
    asked = []

    def dies(iteration):
        if iteration == 1:
            server.shutdown()
            server.server_close()

    monitor = MLflowWatcher()
    log_one = monitor._log
    monitor._log = lambda *arguments: (asked.append(arguments), log_one(*arguments))
    watched(monitor, toy.cfg("student.yaml"), 6, dies)
    assert server.batches == [{"loss": n, AP: n} for n in range(2)]
    assert [iteration for iteration, _ in asked] == [0, 1, 2, 2]  # once, and at the end
    assert any("mlflow lacks 4 iterations" in message for message in log)


@pytest.mark.slow
def test_no_server(toy, tmp_path, monkeypatch, log):
    wandb.teardown()  # what it has read of the environment
    address = f"http://127.0.0.1:{free_port()}"
    for name, value in {
        "MLFLOW_TRACKING_URI": address,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "WANDB_MODE": "online",
        "WANDB_BASE_URL": address,
        "WANDB_API_KEY": 40 * "a",
        "WANDB_INIT_TIMEOUT": "1",
        "WANDB_SILENT": "true",
    }.items():
        monkeypatch.setenv(name, value)
    cfg = toy.cfg("student.yaml", "OUTPUT_DIR", str(tmp_path))
    for watcher in (MLflowWatcher(), WandbWatcher()):
        watched(watcher, cfg, 3)
        assert [watcher.name in m and "not shown there" in m for m in log] == [True]
        assert not watcher.waiting
        log.clear()
    wandb.teardown()


def test_nobody_at_the_keyboard_of_a_terminal(toy, tmp_path, monkeypatch, log):
    wandb.teardown()
    for name in ("WANDB_API_KEY", "WANDB_SILENT", "WANDB_LOGIN_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "NETRC": str(tmp_path / "absent"),
        "TERM": "xterm",
        "WANDB_MODE": "online",
        "WANDB_BASE_URL": f"http://127.0.0.1:{free_port()}",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(watch, "LOGIN", 0.2)
    keyboard, terminal = pty.openpty()
    with os.fdopen(terminal, "r+b", buffering=0) as raw, os.fdopen(keyboard, "wb", buffering=0):
        console = io.TextIOWrapper(raw, write_through=True)
        monkeypatch.setattr(sys, "stdin", console)
        monkeypatch.setattr(sys, "stderr", console)
        watched(WandbWatcher(), toy.cfg("student.yaml", "OUTPUT_DIR", str(tmp_path)), 3)
        monkeypatch.undo()
    assert ["not shown there" in message for message in log] == [True]
    wandb.teardown()


@pytest.mark.parametrize("there", [None, types.ModuleType("wandb")])
def test_a_package_that_is_absent_or_a_folder_of_its_name(toy, monkeypatch, there):
    check_packages(toy.cfg("student.yaml", *BOTH))
    monkeypatch.setitem(sys.modules, "wandb", there)
    check_packages(toy.cfg("student.yaml"))
    with pytest.raises(UserError, match=r"SAD.WATCH.TO names wandb.*install -e '.\[watch\]'"):
        check_packages(toy.cfg("student.yaml", *BOTH))
