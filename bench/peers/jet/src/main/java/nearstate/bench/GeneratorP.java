package nearstate.bench;

import com.hazelcast.jet.Traverser;
import com.hazelcast.jet.Traversers;
import com.hazelcast.jet.core.AbstractProcessor;
import com.hazelcast.jet.core.EventTimeMapper;
import com.hazelcast.jet.core.EventTimePolicy;

/** The source: cooperative, as many events as the outbox takes. Notes when the events begin that are timed, and when they end. */
final class GeneratorP extends AbstractProcessor {
    static volatile long startedNanos;
    static volatile long endedNanos;

    private final Generator generator;
    private final EventTimeMapper<Object> mapper;
    private final long warmup;
    private final long timedEnd;
    private final long total;
    private long n;
    private Traverser<Object> pending = Traversers.empty();

    GeneratorP(EventTimePolicy<? super Object> policy, Generator generator, long warmup, long events, long total) {
        this.generator = generator;
        this.mapper = new EventTimeMapper<>(policy);
        this.mapper.addPartitions(1);
        this.warmup = warmup;
        this.timedEnd = warmup + events;
        this.total = total;
    }

    @Override
    public boolean complete() {
        long now = System.nanoTime();
        while (emitFromTraverser(pending)) {
            if (n == warmup) startedNanos = System.nanoTime();
            if (n == timedEnd) endedNanos = System.nanoTime();
            if (n == total) return true;
            pending = mapper.flatMapEvent(now, generator.eventAt(n), 0, generator.timeOf(n));
            n++;
        }
        return false;
    }
}
