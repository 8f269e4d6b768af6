"""Topics and words: the geometry of a topic model
===============================================

A topic is a distribution over words and a document is a distribution over topics. Both have
Fisher-Rao distances, nearest neighbours and clusters.
"""

# %%
# A corpus with known topics
# --------------------------
# Documents of 200 words are drawn from three topics. Latent Dirichlet allocation finds the topics
# again, in some order.
import numpy as np
from matplotlib import pyplot as plt
from sklearn.decomposition import LatentDirichletAllocation

from infogeo import mean, neighbors, plot, simplex
from infogeo.interop.sklearn import FisherRaoKMeans

words = ["goal", "team", "match", "vote", "party", "law", "cell", "gene", "virus", "year"]
names = ["sport", "politics", "biology"]
known = np.full((3, len(words)), 0.01)
known[0, :3] = known[1, 3:6] = known[2, 6:9] = 0.28
known[:, 9] = 0.1
rng = np.random.default_rng(0)
shares = rng.dirichlet([0.4, 0.4, 0.4], size=300)
counts = np.array([rng.multinomial(200, p) for p in shares @ known])
model = LatentDirichletAllocation(3, random_state=0, max_iter=30).fit(counts)
topics = model.components_ / model.components_.sum(axis=1, keepdims=True)

# %%
# Which topic is which?
# ---------------------
# The nearest topic, with how far it is from the known one.
found = neighbors.nearest(known, topics, num_neighbors=1)
order = found.indices[:, 0]
for name, k, distance in zip(names, order, found.distances[:, 0], strict=True):
    top = ", ".join(words[i] for i in np.argsort(-topics[k])[:3])
    print(f"{name:8} is topic {k}, {distance:.3f} rad away: {top}")

# %%
# Words between two topics
# ------------------------
# The shortest way from sport to politics passes a distribution in which the words of both are
# likely, and the word that all topics share is likelier than at either end.
way = simplex.fisher_rao_geodesic(topics[order[0]], topics[order[1]], np.linspace(0.0, 1.0, 5))
for t, p in zip(np.linspace(0.0, 1.0, 5), way, strict=True):
    print(f"{t:.2f}  goal {p[0]:.3f}  vote {p[3]:.3f}  year {p[9]:.3f}")

# %%
# Documents on the triangle of topics
# -----------------------------------
# Clusters in the Fisher-Rao geometry, with the Frechet mean of each.
documents = model.transform(counts)[:, order]
clusters = FisherRaoKMeans(3, random_state=0).fit_predict(documents)
figure, ax = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
plot.simplex(ax, labels=names)
for k, color in enumerate(["#0072b2", "#d55e00", "#009e73"]):
    members = documents[clusters == k]
    ax.plot(*plot.to_ternary(members).T, "o", color=color, markersize=4, alpha=0.45)
    middle = mean.frechet_mean(members).point
    ax.plot(*plot.to_ternary(middle), "*", color=color, markersize=17, markeredgecolor="black")
    print(f"cluster {k}: {len(members)} documents, mean {middle.round(2)}")
figure.savefig("topics.png", dpi=110)
