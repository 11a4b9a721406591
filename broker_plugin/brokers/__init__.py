# SPDX-License-Identifier: BSD-3-Clause
"""Other brokers' plug-in points: each file turns what one broker hands over into packets, and gives verdicts.

No file here knows how to score. They put a survey's packet together again from the broker's tables
(`surveys.packets`), have it judged as `broker-plugin replay` would (`scoring`), and write down what a broker
can carry.
"""
