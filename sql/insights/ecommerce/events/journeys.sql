-- 9. How visits end
-- Of all visits: who bought, who left something in the cart, and who only looked.
-- reads: ecommerce_events
-- chart: bars label=outcome value=visits
WITH visits AS (
    SELECT
        user_session,
        COUNT(*) AS events,
        MAX(CASE WHEN event_type = 'cart' THEN 1 ELSE 0 END) AS carted,
        MAX(CASE WHEN event_type = 'purchase' THEN 1 ELSE 0 END) AS bought,
        SUM(CASE WHEN event_type = 'purchase' THEN price ELSE 0 END) AS revenue
    FROM ecommerce_events
    WHERE user_session <> ''
    GROUP BY user_session
),

ended AS (
    SELECT
        CASE WHEN bought = 1 THEN 'bought' WHEN carted = 1 THEN 'left a cart' ELSE 'only looked' END
            AS outcome,
        events,
        revenue
    FROM visits
)

SELECT
    outcome,
    COUNT(*) AS visits,
    SUM(events) AS events,
    SUM(revenue) AS revenue
FROM ended
GROUP BY outcome
ORDER BY visits DESC, outcome
