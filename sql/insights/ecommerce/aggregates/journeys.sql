-- 9. How visits end
-- Of all visits: who bought, who left something in the cart, and who only looked.
-- reads: ecommerce_journeys
-- chart: bars label=outcome value=visits
WITH visits AS (
    SELECT
        user_session,
        SUM(events) AS events,
        MAX(CASE WHEN carts > 0 THEN 1 ELSE 0 END) AS carted,
        MAX(CASE WHEN purchases > 0 THEN 1 ELSE 0 END) AS bought,
        MAX(CASE WHEN phase = 'interim' THEN 1 ELSE 0 END) AS goes_on,
        SUM(revenue) AS revenue
    FROM ecommerce_journeys
    GROUP BY user_session
),

ended AS (
    SELECT
        CASE
            WHEN bought = 1 THEN 'bought'
            WHEN goes_on = 1 THEN 'still open'
            WHEN carted = 1 THEN 'left a cart'
            ELSE 'only looked'
        END AS outcome,
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
