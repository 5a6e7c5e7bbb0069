"""The ServerApp: FedAvg, the new model tested after every round."""

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from digits.task import accuracy, initial, load

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """As many rounds as the configuration says."""
    images, classes = load()

    def test(_: int, arrays: ArrayRecord) -> MetricRecord:
        return MetricRecord({"accuracy": accuracy(arrays.to_numpy_ndarrays(), images, classes)})

    nodes = int(context.run_config["min-nodes"])
    strategy = FedAvg(fraction_evaluate=0.0, min_evaluate_nodes=0, min_train_nodes=nodes, min_available_nodes=nodes)
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(initial()),
        num_rounds=int(context.run_config["num-server-rounds"]),
        evaluate_fn=test,
    )
