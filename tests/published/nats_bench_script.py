"""A search script as people have them for NATS-Bench: run with its own import, it needs that."""

import argparse
import collections
import copy
import random

from nats_bench import create

OPS = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]


class Structure:
    def __init__(self, nodes):
        self.nodes = nodes

    def tostr(self):
        return "+".join("|" + "|".join(f"{op}~{i}" for op, i in node) + "|" for node in self.nodes)


class Model:
    def __init__(self):
        self.arch = None
        self.accuracy = None


def random_architecture():
    return Structure([[(random.choice(OPS), j) for j in range(i)] for i in range(1, 4)])


def mutate(parent):
    child = copy.deepcopy(parent)
    node = random.randint(0, len(child.nodes) - 1)
    edge = random.randint(0, len(child.nodes[node]) - 1)
    operation, source = child.nodes[node][edge]
    others = [op for op in OPS if op != operation]
    child.nodes[node][edge] = (random.choice(others), source)
    return child


def evaluate(api, arch, args):
    accuracy, _, _, total_time = api.simulate_train_eval(arch, args.dataset, hp="12")
    return accuracy, total_time


def random_search(api, args):
    best, best_accuracy, total_time, history = None, -1, 0, []
    while total_time < args.time_budget:
        arch = random_architecture()
        accuracy, total_time = evaluate(api, arch, args)
        history.append(arch)
        if accuracy > best_accuracy:
            best, best_accuracy = arch, accuracy
    return best, history, total_time


def regularized_evolution(api, args):
    population, history, total_time = collections.deque(), [], 0
    while len(population) < args.population:
        model = Model()
        model.arch = random_architecture()
        model.accuracy, total_time = evaluate(api, model.arch, args)
        population.append(model)
        history.append(model)
    while total_time < args.time_budget:
        sample = [random.choice(population) for _ in range(args.sample)]
        parent = max(sample, key=lambda model: model.accuracy)
        child = Model()
        child.arch = mutate(parent.arch)
        child.accuracy, total_time = evaluate(api, child.arch, args)
        population.append(child)
        history.append(child)
        population.popleft()
    best = max(history, key=lambda model: model.accuracy)
    return best.arch, [model.arch for model in history], total_time


def main(args):
    random.seed(args.rand_seed)
    api = create(args.api_path, "tss", fast_mode=True, verbose=False)
    print(f"{len(api)} architectures, the first is {api[0]}")
    for search in (random_search, regularized_evolution):
        api.reset_time()
        arch, history, total_time = search(api, args)
        index = api.query_index_by_arch(arch)
        info = api.get_more_info(index, args.dataset, iepoch=None, hp="200", is_random=False)
        cost = api.get_cost_info(index, args.dataset, hp="200")
        print(f"{search.__name__}: {len(history)} architectures in {total_time:.1f} seconds")
        print(f"used_time {api.used_time:.1f}")
        print(f"best {index} valid {info['valid-accuracy']:.4f} test {info['test-accuracy']:.4f}")
        print(f"flops {cost['flops']:.6f} params {cost['params']:.6f}")
        print(api.query_info_str_by_arch(arch, "200"))
    print("optimum", *api.find_best(args.dataset, "ori-test", hp="200"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser("search on NATS-Bench")
    parser.add_argument("--api_path", type=str, default=None)
    parser.add_argument("--dataset", type=str)
    parser.add_argument("--time_budget", type=float, default=2000)
    parser.add_argument("--population", type=int, default=10)
    parser.add_argument("--sample", type=int, default=3)
    parser.add_argument("--rand_seed", type=int, default=1)
    main(parser.parse_args())
