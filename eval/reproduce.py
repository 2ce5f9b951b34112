"""Carries a table from data and models to its files; keeps whatever is finished."""

import pathlib

from eval import mini_study, models
from eval.baselines import ants, demons
from eval.baselines.physical import MissingExtraError
from eval.data import DataFolder
from eval.measure import MissingModelError, measure_pairs, open_store
from eval.methods import Trained
from eval.reference_flows import make_flows
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
        self._data, self._models, self.out = DataFolder(data), pathlib.Path(models), out
        self._mini, self._say = mini, say
        self._limits = limit, limit_baselines or limit
        self._complete = True
        self.results, self.figures = [], {}
        tables = (TABLES[name] for name in names)
        if mini:
            tables = (table.reduced(mini_study.CASCADES) for table in tables)
        self._tables = self._with_data(list(tables))

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._data.close()

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

        Returns: whether every cell of every table was measured on all pairs.
        """
        for table in self._tables:
            result = TableResult(table, self._columns(table), [], comparable=not self._mini)
            self.results.append(result)
            for label, method in {**table.rows, **table.extra}.items():
                row = self._row(result, label, method)
                result.rows.append(row)
                self._complete &= all(row.is_complete(task) for task in result.tasks())
                write_table(result, self.out)
        return self._complete

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
        printed = {k: v for k, v in result.table.printed(label).items() if k in result.columns}
        row = Row(label, printed)
        for task in result.tasks():
            row.pairs[task] = []
            row.expected[task] = len(self._data.pairs(task))
            try:
                for scores in self._measure(method, task.aligned() if method.aligned else task):
                    row.pairs[task].append(scores)
                row.parameters = row.parameters or self._parameters(method, task.study)
                where = f"{task.study} {task.subset}"
                self._say(f"{result.table.name}  {label}: {where}, {len(row.pairs[task])} pairs")
            except (MissingModelError, MissingExtraError) as error:
                if str(error) not in row.notes:
                    row.notes.append(str(error))
                    self._say(f"{result.table.name}  {label}: not measured, {error}")
        return row

    def _measure(self, method, task):
        """Scores of a task's pairs, one by one. Raises: MissingModelError, MissingExtraError."""
        reason = self._data.missing(task.study)
        if reason:
            raise MissingModelError(reason)
        store = open_store(self.out, method, task, self._models)
        limit = self._limits[not isinstance(method, Trained)]
        yield from measure_pairs(method, task, self._data, self._models, store, limit)

    def _example(self, result, task):
        """(fixed, moving, {label: flow}) of a task's first pair, as far as flows are kept."""
        fixed, moving = self._data.scans(task, self._data.pairs(task, 1)[0])
        flows = {}
        for label, method in {**result.table.rows, **result.table.extra}.items():
            if method.aligned or not self._is_at_hand(method, task):
                continue  # aligned scans are other images
            store = open_store(self.out, method, task, self._models)
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
        study = f"{study}_aligned" if method.aligned else study
        return count_parameters(self._models / method.spec(study).name)

    def _studies(self):
        """Studies that there are data for."""
        tasks = {task for table in self._tables for task in table.tasks()}
        studies = {task.study for task in tasks} | {task.aligned().study for task in tasks}
        return {study for study in studies if not self._data.missing(study)}

    def _columns(self, table):
        """The columns whose pairs there are; those of times with any."""
        return {
            name: measure
            for name, measure in table.columns.items()
            if measure.task is None or not self._data.missing(measure.task.study)
        }

    def _with_data(self, tables):
        """The tables that there are data for; of the others is said what they lack."""
        found = []
        for table in tables:
            tasks = [task for task in table.tasks() if not self._data.missing(task.study)]
            for task in tasks:
                self._data.pairs(task)  # a wrong subset is named before anything is done
            if tasks:
                found.append(table)
                continue
            reasons = dict.fromkeys(self._data.missing(task.study) for task in table.tasks())
            message = f"no data for {table.name}: {'; '.join(reasons)}"
            if len(tables) == 1:
                raise FileNotFoundError(message)
            self._say(message)
            self._complete = False
        if not found:
            raise FileNotFoundError(f"no data for any of the tables in {self._data.path}.")
        return found

    def _reference_flows(self, spec):
        """File of the flows that a supervised training needs; what is missing is made.

        By ANTs as in the paper, in the mini study by demons, which take seconds.
        """
        register = demons.demons if self._mini else ants.syn
        return make_flows(self._data, spec.study, spec.scheme, register, self._say)
