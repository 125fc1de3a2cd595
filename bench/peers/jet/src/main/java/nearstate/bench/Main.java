package nearstate.bench;

import static com.hazelcast.jet.Util.entry;

import com.hazelcast.config.Config;
import com.hazelcast.core.Hazelcast;
import com.hazelcast.core.HazelcastInstance;
import com.hazelcast.function.ToLongFunctionEx;
import com.hazelcast.jet.Traversers;
import com.hazelcast.jet.aggregate.AggregateOperation;
import com.hazelcast.jet.aggregate.AggregateOperation1;
import com.hazelcast.jet.aggregate.AggregateOperations;
import com.hazelcast.jet.core.ProcessorMetaSupplier;
import com.hazelcast.jet.core.ProcessorSupplier;
import com.hazelcast.jet.datamodel.KeyedWindowResult;
import com.hazelcast.jet.pipeline.JoinClause;
import com.hazelcast.jet.pipeline.Pipeline;
import com.hazelcast.jet.pipeline.Sink;
import com.hazelcast.jet.pipeline.Sinks;
import com.hazelcast.jet.pipeline.Sources;
import com.hazelcast.jet.pipeline.StreamStage;
import com.hazelcast.jet.pipeline.WindowDefinition;
import com.hazelcast.map.IMap;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * One round of a query: a member by itself with one cooperative thread, the job, and the answer as JSON on the last line.
 * Arguments: query, events of the warm-up, events that are timed, events in all, keys, events per second of event time.
 */
public final class Main {
    private static final int SIDE_KEYS = 10_000;

    private Main() {}

    public static void main(String[] args) {
        String query = args[0];
        long warmup = Long.parseLong(args[1]);
        long events = Long.parseLong(args[2]);
        long total = Long.parseLong(args[3]);
        long keys = Long.parseLong(args[4]);
        long rate = Long.parseLong(args[5]);
        System.setProperty("hazelcast.logging.type", "none");
        System.setProperty("hazelcast.phone.home.enabled", "false");
        Config config = new Config();
        config.getJetConfig().setEnabled(true).setCooperativeThreadCount(1);
        config.getNetworkConfig().getJoin().getAutoDetectionConfig().setEnabled(false);
        config.getNetworkConfig().getJoin().getMulticastConfig().setEnabled(false);
        HazelcastInstance member = Hazelcast.newHazelcastInstance(config);
        try {
            IMap<Long, String> side = member.getMap("side");
            if (query.equals("q13")) for (long key = 0; key < SIDE_KEYS; key++) side.set(key, "v" + key);
            Pipeline pipeline = Pipeline.create();
            StreamStage<Generator.Bid> bids = pipeline
                .readFrom(Sources.<Object>streamFromProcessorWithWatermarks(
                    "events",
                    true,
                    policy -> ProcessorMetaSupplier.forceTotalParallelismOne(
                        ProcessorSupplier.of(() -> new GeneratorP(policy, new Generator(1, rate, keys), warmup, events, total)))))
                .withNativeTimestamps(0)
                .filter(event -> event instanceof Generator.Bid)
                .map(event -> (Generator.Bid) event);
            switch (query) {
                case "q1" -> bids
                    .map(bid -> new Generator.Bid(bid.auction, bid.bidder, bid.price * 908 / 1000, bid.dateTime))
                    .writeTo(counted(bid -> bid.auction + bid.bidder + bid.price + bid.dateTime));
                case "q5" -> hottest(bids).writeTo(counted(best -> best.getKey() + best.getValue()));
                case "q13" -> bids
                    // What Jet is fast at: the map's entries as they are at the start. mapUsingIMap reads the map as it is now, as our enrich
                    // does, by a call to the thread of the key's partition for every row; it was not measured.
                    .hashJoin(
                        pipeline.readFrom(Sources.map(side)),
                        JoinClause.joinMapEntries(bid -> bid.auction % SIDE_KEYS),
                        (bid, value) -> new Joined(bid.auction, bid.bidder, bid.price, value))
                    .writeTo(counted(row -> row.auction + row.bidder + row.price + row.value.charAt(row.value.length() - 1)));
                default -> throw new IllegalArgumentException(query);
            }
            member.getJet().newJob(pipeline).join();
            double seconds = (GeneratorP.endedNanos - GeneratorP.startedNanos) / 1e9;
            System.out.printf("%n{\"perSecond\":%.1f,\"rows\":%d,\"checksum\":%d}%n", events / seconds, CountP.rows, CountP.odd);
        } finally {
            member.shutdown();
        }
    }

    private static <T> Sink<T> counted(ToLongFunctionEx<T> sumOf) {
        return Sinks.fromProcessor("counted", ProcessorMetaSupplier.forceTotalParallelismOne(ProcessorSupplier.of(() -> new CountP<>(sumOf))));
    }

    private static StreamStage<Map.Entry<Long, Long>> hottest(StreamStage<Generator.Bid> bids) {
        return bids
            .groupingKey(bid -> bid.auction)
            .window(WindowDefinition.sliding(10_000, 2_000))
            .aggregate(AggregateOperations.counting())
            .window(WindowDefinition.tumbling(2_000))
            .aggregate(greatest())
            .flatMap(window -> Traversers.traverseIterable(window.result()));
    }

    /** All with the greatest count. */
    private static AggregateOperation1<KeyedWindowResult<Long, Long>, Greatest, List<Map.Entry<Long, Long>>> greatest() {
        return AggregateOperation.withCreate(Greatest::new)
            .<KeyedWindowResult<Long, Long>>andAccumulate((best, row) -> best.add(row.key(), row.result()))
            .andCombine((best, other) -> other.rows.forEach(row -> best.add(row.getKey(), row.getValue())))
            .andExportFinish(best -> best.rows);
    }

    private static final class Greatest implements Serializable {
        private long value = Long.MIN_VALUE;
        private final List<Map.Entry<Long, Long>> rows = new ArrayList<>();

        void add(long key, long count) {
            if (count > value) {
                value = count;
                rows.clear();
            }
            if (count == value) rows.add(entry(key, count));
        }
    }

    private static final class Joined implements Serializable {
        final long auction;
        final long bidder;
        final long price;
        final String value;

        Joined(long auction, long bidder, long price, String value) {
            this.auction = auction;
            this.bidder = bidder;
            this.price = price;
            this.value = value;
        }
    }
}
