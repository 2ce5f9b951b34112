"""Reproduces tables: from data and models to files; finished parts are kept."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterable

import numpy as np

from eval import models
from eval.baselines import ants, demons
from eval.baselines.physical import MissingExtraError
from eval.data_folder import DataFolder
from eval.figures.drawing import draw
from eval.measure import FailedPairError, MissingModelError, measure_pairs, open_store
from eval.mini_studies import reduced, studies_of, study_of
from eval.reference_flows import make_study_flows
from eval.report import write_report
from eval.results import Row, TableResult
from eval.row_methods import Trained, Unavailable
from eval.tables import TABLES, needed_models
from eval.trainings import write_trainings
from eval.trends import find_trends, write_trends
from eval.writing import summary, write_table
from rcn_tf.metrics import MASK_THRESHOLD
from rcn_tf.models.folder import count_parameters
from rcn_tf.wording import counted

INTERRUPTED = 130  # exit code


class Reproduction:
    """Tables being reproduced.

    Args:
        names: of the tables. data, models, out: folders; see `eval.tables`, `eval.models`.
        mini: form of the mini studies ("quick", "large"), which reduce tables and say how to
            train; None for the papers' own data.
        limit, limit_baselines: maximal number of pairs per task, for networks and for classical
            methods.
        say: called with one line of text whenever something is done.
    Raises: FileNotFoundError: there is no data for any of the tables.
    """

    def __init__(
        self,
        names: Iterable[str],
        data: str | pathlib.Path,
        models: str | pathlib.Path,
        out: pathlib.Path,
        *,
        mini: str | None,
        limit: int | None,
        limit_baselines: int | None,
        say: Callable[[str], None],
    ):
        self._data, self._models, self.out = DataFolder(data), pathlib.Path(models), out
        self._mini, self._say = mini, say
        self._limits = limit, limit_baselines or limit
        self._complete = True
        self.results: list[TableResult] = []
        tables = (TABLES[name] for name in names)
        if mini:
            tables = (reduced(table, mini) for table in tables)
        self._tables = self._with_data(list(tables))

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._data.close()

    def train(self) -> None:
        """Trains the models that are missing or unfinished, in the order of the tables' rows.

        A model that cannot be trained is reported and skipped; its rows stay empty.
        Raises: KeyboardInterrupt: a training was stopped and saved.
        """
        for spec in self._models_to_train():
            reason = self._data.missing_for_training(spec.study, spec.scheme)
            reason = reason or self._train_one(spec)
            if reason:
                self._say(f"not trained: {spec.name}, {reason}")

    def measure(self) -> bool:
        """Measures every row; a table's files are rewritten after each row.

        Returns: whether every cell for which there are data was measured on all pairs.
        """
        for table in self._tables:
            result = self._stored(table)
            self.results.append(result)
            methods = {**table.rows, **table.extra}
            for row in result.rows:
                self._fill(result, row, methods[row.label])
                write_table(result, self.out)
            self._say(summary(result))
        return self._complete and all(result.is_complete() for result in self.results)

    def write_trends(self) -> None:
        """Writes what the measured tables say about the papers' trends, and the trainings' cost."""
        write_trends(find_trends(self.results), self.out)
        write_trainings(self._models, self.out)

    def draw(self) -> None:
        """Draws the figures of all measured tables, into `figures/`."""
        for result in self.results:
            examples = {task: self._example(result, task) for task in result.tasks()}
            draw(result, examples, self._models, self.out / "figures")
            self._say(f"{result.table.name}  figures drawn")

    def write_report(self) -> pathlib.Path:
        """Writes `report.html` from this run's tables and earlier ones. Returns: its path."""
        return write_report(self.out, self._note())

    def _models_to_train(self):
        """ModelSpecs that are not trained; supervised ones last, as their flows take long."""
        specs = needed_models(self._tables, self._is_tested)
        wanted = [s for s in specs if models.state(self._models / s.name) != "trained"]
        return sorted(wanted, key=lambda spec: spec.supervised)

    def _train_one(self, spec):
        """Trains a model. Returns: why it could not be trained; None if it was."""
        self._say(f"training {spec.name}")
        settings = self._mini_settings(spec) if self._mini else ()
        try:
            flows = self._reference_flows(spec) if spec.supervised else None
        except MissingExtraError as error:
            return str(error)
        code = models.train(spec, self._models, self._data.path, settings, flows)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        return f"exit code {code}" if code else None

    def _mini_settings(self, spec):
        tasks = (task for table in self._tables for task in table.tasks())
        study = spec.study.removesuffix("_aligned")
        task = next(task for task in tasks if task.study == study)
        return study_of(task, self._mini).training(spec)

    def _is_tested(self, task):
        return not self._data.missing(task)

    def _stored(self, table):
        """The table with all rows, filled with what was measured before."""
        reasons = {
            name: measure.task and self._data.missing(measure.task)
            for name, measure in table.columns.items()
        }
        columns = {name: table.columns[name] for name in reasons if not reasons[name]}
        lacking = {name: reason for name, reason in reasons.items() if reason}
        result = TableResult(table, columns, lacking, [], comparable=self._mini is None)
        for label, method in {**table.rows, **table.extra}.items():
            printed = {k: v for k, v in table.printed(label).items() if k in columns}
            row = Row(label, printed)
            result.rows.append(row)
            for task in filter(method.fits, result.tasks()):
                row.expected[task] = len(self._data.pairs(task))
                with contextlib.suppress(MissingModelError):
                    row.pairs[task] = list(self._scores(method, task, stored_only=True))
                    row.parameters = self._parameters(method, task)
        return result

    def _fill(self, result, row, method):
        """Measures the missing pairs of a row."""
        for task in filter(method.fits, result.tasks()):
            where = f"{result.table.name}  {row.label}: {task.study} {task.subset}"
            scores = []
            try:
                for pair in self._scores(method, task):
                    if isinstance(pair, FailedPairError):
                        self._note_once(row, str(pair), where)
                    else:
                        scores.append(pair)
                row.parameters = self._parameters(method, task)
                self._say(f"{where}, {counted(len(scores), 'pair')}")
            except (MissingModelError, MissingExtraError) as error:
                self._note_once(row, str(error), where)
                scores = row.pairs.get(task, [])  # what was measured before stays
            row.pairs[task] = scores

    def _note_once(self, row, note, where):
        if note not in row.notes:
            row.notes.append(note)
            self._say(f"{where}, not measured: {note}")

    def _scores(self, method, task, stored_only=False):
        """As `measure_pairs`. Raises: MissingModelError, MissingExtraError."""
        task = task.aligned() if method.aligned else task
        reason = self._data.missing(task)
        if reason:
            raise MissingModelError(reason)
        store = open_store(self.out, method, task, self._data, self._models)
        limit = self._limits[not isinstance(method, Trained)]
        options = {"limit": limit, "stored_only": stored_only}
        yield from measure_pairs(method, task, self._data, self._models, store, **options)

    def _example(self, result, task):
        """(fixed, moving, {label: flow}) of a task's first pair, for the flows that are stored."""
        fixed, moving = self._data.scans(task, self._data.pairs(task, 1)[0])
        flows = {}
        for label, method in {**result.table.rows, **result.table.extra}.items():
            if method.aligned or not (method.fits(task) and self._is_at_hand(method, task)):
                continue  # aligned scans are other images
            store = open_store(self.out, method, task, self._data, self._models)
            flow = store.load_example(fixed, moving)
            if flow is not None:
                flows[label] = flow
        config = self._data.store(task.study).config
        return _evaluated(fixed, config), _evaluated(moving, config), flows

    def _is_at_hand(self, method, task):
        if not isinstance(method, Trained):
            return not isinstance(method, Unavailable)
        return models.state(self._models / method.spec(task).name) == "trained"

    def _note(self):
        if not self._mini:
            return "The papers' tables, on their datasets."
        return " ".join(study.note for study in studies_of(self._tables, self._mini))

    def _parameters(self, method, task):
        """Numbers of a network's parameters (all, in dense stages); None for other methods."""
        if not isinstance(method, Trained):
            return None
        task = task.aligned() if method.aligned else task
        return count_parameters(self._models / method.spec(task).name)

    def _with_data(self, tables):
        """The tables for which there are data; for the others the missing file is reported."""
        found = []
        for table in tables:
            tasks = [task for task in table.tasks() if self._is_tested(task)]
            for task in tasks:
                self._data.pairs(task)  # reports a wrong subset before any work is done
            if tasks:
                found.append(table)
                continue
            reasons = dict.fromkeys(map(self._data.missing, table.tasks()))
            message = f"no data for {table.name}: {'; '.join(reasons)}"
            if len(tables) == 1:
                raise FileNotFoundError(message)
            self._say(message)
            self._complete = False
        if not found:
            raise FileNotFoundError(f"no data for any of the tables in {self._data.path}.")
        return found

    def _reference_flows(self, spec):
        """File of the flows that a supervised training needs; missing flows are made.

        ANTs makes them as in the paper; in the mini study demons do, which take seconds.
        """
        register = demons.demons if self._mini else ants.syn
        return make_study_flows(self._data, spec.study, spec.scheme, register, self._say)


def _evaluated(scan, config):
    """The scan with only the structures that its config evaluates; masks become 0 and 1."""
    labels = scan.segmentation
    if labels is None:
        return scan
    if config.masks and labels.max() == 255:
        labels = np.uint8(labels > MASK_THRESHOLD)
    elif config.structures:
        labels = labels * np.isin(labels, list(config.structures.values()))
    return dataclasses.replace(scan, segmentation=labels)
