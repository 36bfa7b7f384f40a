"""What one score costs when the three models are fitted anew for it with Python's usual libraries: STL of statsmodels,
isolation forest of scikit-learn, exponentially weighted moments of pandas. A number of scores comes in, milliseconds of
processor time of one of them (the median) go out. Never: a model that is kept from one score to the next."""
import statistics
import sys
import time

import numpy
import pandas
from sklearn.ensemble import IsolationForest
from statsmodels.tsa.seasonal import STL

DAY = 2880
HOUR = 120

random = numpy.random.default_rng(1)
scores = int(sys.argv[1])
slots = numpy.arange(DAY + scores)
values = 180 + 20 * numpy.sin(2 * numpy.pi * slots / HOUR) + random.normal(0, 6, slots.size)


def score(day):
    rest = numpy.asarray(STL(day, period=HOUR).fit().resid)
    rolling = day.rolling(10, min_periods=1)
    features = numpy.column_stack([day, day.diff().fillna(0), rolling.mean(), rolling.std().fillna(0)])
    forest = IsolationForest(n_estimators=100, random_state=42).fit(features)
    averages = day.ewm(span=20)
    mean, deviation = averages.mean().iloc[-2], averages.std().iloc[-2]
    return (
        0.4 * min(abs(rest[-1] - rest.mean()) / rest.std() / 3, 1)
        - 0.4 * forest.score_samples(features[-1:])[0]
        + 0.2 * min(abs(day.iloc[-1] - mean) / deviation / 3, 1)
    )


took = []
for start in range(scores):
    day = pandas.Series(values[start : start + DAY])
    before = time.process_time()
    score(day)
    took.append(1e3 * (time.process_time() - before))
print(statistics.median(took))
