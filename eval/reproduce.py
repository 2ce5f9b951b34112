"""Carries a table from data and models to its files; keeps whatever is finished."""

import pathlib

from eval import measure, mini_study, models
from eval.baselines.physical import MissingExtraError
from eval.data import DataFolder
from eval.methods import Trained
from eval.report import write_report
from eval.results import Row, TableResult
from eval.tables import TABLES, needed_models
from eval.writing import write_table
from rcn_tf.model_folder import count_parameters


class Reproduction:
    """Tables being reproduced.

    Args:
        names: of the tables. data, models, out: folders; see `eval.tables`, `eval.models`.
        mini: the tables reduced to `mini_study.CASCADES`, training as `mini_study.TRAINING`.
        limit, limit_baselines: pairs per task, of networks and of classical methods.
        say: called with one line of text whenever something is done.
    Raises: FileNotFoundError: there is no data for any of the tables.
    """

    def __init__(self, names, data, models, out, *, mini, limit, limit_baselines, say):
        self._tables = [TABLES[name] for name in names]
        if mini:
            self._tables = [table.reduced(mini_study.CASCADES) for table in self._tables]
        self._data, self._models, self.out = DataFolder(data), pathlib.Path(models), out
        self._mini, self._say = mini, say
        self._limits = limit, limit_baselines or limit
        self._check_data()
        self.results, self.figures = [], {}

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._data.__exit__(*exc_info)

    def train(self):
        """Trains the models that are missing or unfinished, in the order of the tables' rows.

        Raises: RuntimeError: a training failed or was stopped.
        """
        settings = mini_study.TRAINING if self._mini else ()
        for spec in needed_models(self._tables, self._studies()):
            if models.state(self._models / spec.name) == "trained":
                continue
            flows = self._reference_flows(spec) if spec.supervised else None
            self._say(f"training {spec.name}")
            code = models.train(spec, self._models, self._data.path, settings, flows)
            if code != 0:
                raise RuntimeError(
                    f"training of {self._models / spec.name} ended with exit code {code}; the same "
                    "command continues it."
                )

    def measure(self):
        """Measures every row; a table's files are written anew after each.

        Returns: whether every cell that there are data for was measured on all pairs.
        """
        for table in self._tables:
            columns = self._columns(table)
            if not columns:
                continue
            result = TableResult(table, columns, [], comparable=not self._mini)
            self.results.append(result)
            for label, method in {**table.rows, **table.extra}.items():
                result.rows.append(self._row(result, label, method))
                write_table(result, self.out)
        return all(
            row.is_complete(task)
            for result in self.results
            for row in result.rows
            for task in result.tasks()
        )

    def draw(self):
        """Draws the figures of all measured tables, into `figures/`."""
        from eval.figures.drawing import draw

        for result in self.results:
            examples = {task: self._example(result, task) for task in result.tasks()}
            folder = self.out / "figures"
            self.figures[result.table.name] = draw(result, examples, self._models, folder)
            self._say(f"{result.table.name}  figures drawn")

    def write_report(self):
        """Writes `report.html`. Returns: its path."""
        return write_report(self.results, self.figures, self.out, self._note())

    def _row(self, result, label, method):
        printed = result.table.paper.rows.get(label.split(" [")[0], {})
        row = Row(label, {k: v for k, v in printed.items() if k in result.columns})
        for task in result.tasks():
            used = task.aligned() if method.aligned else task
            row.expected[task] = len(self._data.pairs(task))
            try:
                row.pairs[task] = self._measure(result.table.name, label, method, used)
                row.parameters = row.parameters or self._parameters(method, used.study)
            except (measure.MissingModelError, MissingExtraError) as error:
                if str(error) not in row.notes:
                    row.notes.append(str(error))
                    self._say(f"{result.table.name}  {label}: not measured, {error}")
        return row

    def _measure(self, table, label, method, task):
        reason = self._data.missing(task.study)
        if reason:
            raise measure.MissingModelError(reason)
        store = measure.open_store(self.out, method, task, self._models)
        limit = self._limits[not isinstance(method, Trained)]

        def on_pair(done, total):
            if done == total:
                where = f"{task.study} {task.subset}"
                self._say(f"{table}  {label}: {where}, {total} pairs")

        options = {"limit": limit, "on_pair": on_pair}
        return measure.measure(method, task, self._data, self._models, store, **options)

    def _example(self, result, task):
        """(fixed, moving, {label: flow}) of a task's first pair, as far as flows are kept."""
        fixed, moving = self._data.scans(task, self._data.pairs(task, 1)[0])
        flows = {}
        for label, method in {**result.table.rows, **result.table.extra}.items():
            if method.aligned or not self._is_at_hand(method, task):
                continue  # aligned scans are other images
            store = measure.open_store(self.out, method, task, self._models)
            flow = store.load_example(fixed, moving)
            if flow is not None:
                flows[label] = flow
        return fixed, moving, flows

    def _is_at_hand(self, method, task):
        if not isinstance(method, Trained):
            return True
        return models.state(self._models / method.spec(task.study).name) == "trained"

    def _note(self):
        if not self._mini:
            return "The papers' tables, on their datasets."
        return (
            "The mini study: the papers' tables on seven brains (four to train on, three to test) "
            f"of {'x'.join(map(str, mini_study.SHAPE))} voxels, with at most "
            f"{mini_study.CASCADES} cascades of narrow networks and few training steps."
        )

    def _parameters(self, method, study):
        """(all, those of the dense stages) of a network; None for other methods."""
        if not isinstance(method, Trained):
            return None
        return count_parameters(self._models / method.spec(study).name)

    def _studies(self):
        """Studies that there are data for."""
        tasks = {task for table in self._tables for task in table.tasks()}
        studies = {task.study for task in tasks} | {task.aligned().study for task in tasks}
        return {study for study in studies if not self._data.missing(study)}

    def _columns(self, table):
        """The columns whose pairs there are; those of times with any."""
        columns = {
            name: measure_
            for name, measure_ in table.columns.items()
            if measure_.task is None or not self._data.missing(measure_.task.study)
        }
        return columns if any(measure_.task for measure_ in columns.values()) else {}

    def _check_data(self):
        for table in self._tables:
            if self._columns(table):
                continue
            reasons = dict.fromkeys(self._data.missing(task.study) for task in table.tasks())
            raise FileNotFoundError(f"no data for {table.name}: {'; '.join(reasons)}.")
        for table in self._tables:
            for task in table.tasks():
                if not self._data.missing(task.study):
                    self._data.pairs(task)  # a wrong subset is named before anything is done

    def _reference_flows(self, spec):
        """File of the flows that a supervised training needs, made by ANTs where it is missing."""
        from eval.reference_flows import make_flows

        return make_flows(self._data, spec.study, spec.scheme, say=self._say)
