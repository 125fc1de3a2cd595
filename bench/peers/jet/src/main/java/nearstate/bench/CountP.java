package nearstate.bench;

import com.hazelcast.jet.core.AbstractProcessor;
import com.hazelcast.function.ToLongFunctionEx;

/** The sink: counts rows, and how many of them have an odd sum. */
final class CountP<T> extends AbstractProcessor {
    static volatile long rows;
    static volatile long odd;

    private final ToLongFunctionEx<T> sumOf;
    private long counted;
    private long countedOdd;

    CountP(ToLongFunctionEx<T> sumOf) {
        this.sumOf = sumOf;
    }

    @Override
    @SuppressWarnings("unchecked")
    protected boolean tryProcess(int ordinal, Object item) {
        counted++;
        countedOdd += sumOf.applyAsLong((T) item) & 1;
        return true;
    }

    @Override
    public boolean complete() {
        rows = counted;
        odd = countedOdd;
        return true;
    }
}
